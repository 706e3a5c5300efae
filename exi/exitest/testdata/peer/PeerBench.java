import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

import javax.xml.parsers.SAXParserFactory;

import org.xml.sax.Attributes;
import org.xml.sax.ContentHandler;
import org.xml.sax.InputSource;
import org.xml.sax.XMLReader;
import org.xml.sax.helpers.AttributesImpl;
import org.xml.sax.helpers.DefaultHandler;

import com.siemens.ct.exi.core.CodingMode;
import com.siemens.ct.exi.core.EXIFactory;
import com.siemens.ct.exi.core.FidelityOptions;
import com.siemens.ct.exi.core.helpers.DefaultEXIFactory;
import com.siemens.ct.exi.grammars.GrammarFactory;
import com.siemens.ct.exi.main.api.sax.EXIResult;
import com.siemens.ct.exi.main.api.sax.EXISource;

/**
 * Measures EXIficient on one input. Arguments: XML file, schema file or -,
 * then any of strict, comp. Prints MB of XML text per second of processor time:
 * events to EXI, EXI to events, XML to EXI, XML to EXI with a parser and an
 * encoder of its own for each document, and the size in octets.
 */
public class PeerBench {
    interface Work {
        void run() throws Exception;
    }

    /** SAX events kept for replay, so that parsing XML is not measured. */
    static class Recorder extends DefaultHandler {
        interface Step {
            void replay(ContentHandler h) throws Exception;
        }

        final List<Step> steps = new ArrayList<>();

        @Override
        public void startElement(String uri, String local, String qName, Attributes atts) {
            AttributesImpl copy = new AttributesImpl(atts);
            steps.add(h -> h.startElement(uri, local, qName, copy));
        }

        @Override
        public void endElement(String uri, String local, String qName) {
            steps.add(h -> h.endElement(uri, local, qName));
        }

        @Override
        public void characters(char[] ch, int start, int length) {
            char[] copy = Arrays.copyOfRange(ch, start, start + length);
            steps.add(h -> h.characters(copy, 0, copy.length));
        }

        @Override
        public void startPrefixMapping(String prefix, String uri) {
            steps.add(h -> h.startPrefixMapping(prefix, uri));
        }

        @Override
        public void endPrefixMapping(String prefix) {
            steps.add(h -> h.endPrefixMapping(prefix));
        }

        void replay(ContentHandler h) throws Exception {
            h.startDocument();
            for (Step s : steps) {
                s.replay(h);
            }
            h.endDocument();
        }
    }

    /** The best of several rounds after warming up. */
    static double measure(int octets, Work w) throws Exception {
        var threads = ManagementFactory.getThreadMXBean();
        long warm = System.nanoTime();
        while (System.nanoTime() - warm < 2_500_000_000L) {
            w.run();
        }
        double best = 0;
        for (int round = 0; round < 5; round++) {
            long start = threads.getCurrentThreadCpuTime();
            long n = 0;
            long used = 0;
            while (used < 300_000_000L) {
                w.run();
                n++;
                used = threads.getCurrentThreadCpuTime() - start;
            }
            best = Math.max(best, octets * (double) n / 1e6 / (used / 1e9));
        }
        return best;
    }

    public static void main(String[] args) throws Exception {
        byte[] xml = Files.readAllBytes(Path.of(args[0]));
        EXIFactory factory = DefaultEXIFactory.newInstance();
        if (!args[1].equals("-")) {
            factory.setGrammars(GrammarFactory.newInstance().createGrammars(args[1]));
        }
        for (String a : Arrays.asList(args).subList(2, args.length)) {
            if (a.equals("strict")) {
                factory.setFidelityOptions(FidelityOptions.createStrict());
            } else if (a.equals("comp")) {
                factory.setCodingMode(CodingMode.COMPRESSION);
            }
        }
        SAXParserFactory parsers = SAXParserFactory.newInstance();
        parsers.setNamespaceAware(true);
        XMLReader parser = parsers.newSAXParser().getXMLReader();
        Recorder recorder = new Recorder();
        parser.setContentHandler(recorder);
        parser.parse(new InputSource(new ByteArrayInputStream(xml)));

        ByteArrayOutputStream out = new ByteArrayOutputStream();
        EXIResult result = new EXIResult(factory);
        double enc = measure(xml.length, () -> {
            out.reset();
            result.setOutputStream(out);
            recorder.replay(result.getHandler());
        });
        byte[] exi = out.toByteArray();
        XMLReader reader = new EXISource(factory).getXMLReader();
        reader.setContentHandler(new DefaultHandler());
        double dec = measure(xml.length, () -> reader.parse(new InputSource(new ByteArrayInputStream(exi))));
        double text = measure(xml.length, () -> {
            out.reset();
            result.setOutputStream(out);
            parser.setContentHandler(result.getHandler());
            parser.parse(new InputSource(new ByteArrayInputStream(xml)));
        });
        double fresh = measure(xml.length, () -> {
            SAXParserFactory own = SAXParserFactory.newInstance();
            own.setNamespaceAware(true);
            XMLReader once = own.newSAXParser().getXMLReader();
            out.reset();
            EXIResult first = new EXIResult(factory);
            first.setOutputStream(out);
            once.setContentHandler(first.getHandler());
            once.parse(new InputSource(new ByteArrayInputStream(xml)));
        });
        System.out.printf("%.2f %.2f %.2f %.2f %d%n", enc, dec, text, fresh, exi.length);
    }
}
