package exi

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
)

// channelReader decodes a block at a time: the structure channel first, then
// the value channels (EXI 1.0 §9). The events of the block wait in queue.
type channelReader struct {
	compress  bool
	blockSize int
	queue     []Event
	head      int
	waiting   []waitingValue
	chans     []readChannel // in the order of their first values
	byName    []int32       // position in chans + 1
	z         inflater
	zr        *bufio.Reader
	inflated  int64
}

type waitingValue struct {
	ev   int32
	next int32 // the channel's next value, −1 at its end
	d    *dtype
}

type readChannel struct {
	name        int32
	first, last int32
	n           int
}

func newChannelReader(o *Options) *channelReader {
	return &channelReader{compress: o.Alignment == Compression, blockSize: o.BlockSize}
}

// begin starts a body.
func (c *channelReader) begin(d *decoder, src *bufio.Reader) {
	c.queue, c.head, c.inflated = c.queue[:0], 0, 0
	c.z.src = packedSource{r: src, n: d.octets(), most: d.o.Limits.Octets}
	c.z.limit = d.o.Limits.Inflated
	c.z.total = 0
	if c.compress && c.zr == nil {
		c.zr = bufio.NewReader(&c.z)
	}
}

// add notes that the event being read has its value in the channel of name.
func (c *channelReader) add(d *dtype, name int32) error {
	for int(name) >= len(c.byName) {
		c.byName = append(c.byName, 0)
	}
	at := int32(len(c.waiting))
	c.waiting = append(c.waiting, waitingValue{ev: int32(len(c.queue) - 1), next: -1, d: d})
	if i := c.byName[name]; i != 0 {
		ch := &c.chans[i-1]
		c.waiting[ch.last].next = at
		ch.last = at
		ch.n++
		return nil
	}
	c.chans = append(c.chans, readChannel{name: name, first: at, last: at, n: 1})
	c.byName[name] = int32(len(c.chans))
	return nil
}

// next returns the next event, reading a block when the queue is empty.
func (c *channelReader) next(d *decoder) (*Event, error) {
	if c.head == len(c.queue) {
		if d.done {
			return nil, io.EOF
		}
		if err := c.block(d); err != nil {
			return nil, err
		}
	}
	c.head++
	return &c.queue[c.head-1], nil
}

func (c *channelReader) block(d *decoder) error {
	c.queue, c.head = c.queue[:0], 0
	d.text = d.text[:0]
	defer c.clear()
	c.open(d)
	for !d.done && len(c.waiting) < c.blockSize {
		if len(c.queue) >= d.o.Limits.Block {
			return limitErr("events in a compressed block", d.o.Limits.Block)
		}
		c.queue = append(c.queue, Event{})
		if err := d.step(&c.queue[len(c.queue)-1]); err != nil {
			return err
		}
	}
	n := len(c.waiting)
	if n > smallChannel {
		if err := c.shut(d); err != nil {
			return err
		}
		c.open(d)
	}
	for i := range c.chans {
		if n <= smallChannel || c.chans[i].n <= smallChannel {
			if err := c.values(d, &c.chans[i]); err != nil {
				return err
			}
		}
	}
	if err := c.shut(d); err != nil {
		return err
	}
	for i := range c.chans {
		if n > smallChannel && c.chans[i].n > smallChannel {
			c.open(d)
			if err := c.values(d, &c.chans[i]); err != nil {
				return err
			}
			if err := c.shut(d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *channelReader) clear() {
	for i := range c.chans {
		c.byName[c.chans[i].name] = 0
	}
	c.chans, c.waiting = c.chans[:0], c.waiting[:0]
}

func (c *channelReader) values(d *decoder, ch *readChannel) error {
	for i := ch.first; i >= 0; i = c.waiting[i].next {
		w := &c.waiting[i]
		if err := d.direct(&c.queue[w.ev], w.d, ch.name); err != nil {
			return err
		}
		if err := d.r.Err(); err != nil {
			return err
		}
	}
	return nil
}

// open makes the next compressed stream the source of the bits. A stream that
// would be empty does not exist, so nothing is read before it is needed.
func (c *channelReader) open(d *decoder) {
	if !c.compress {
		return
	}
	c.z.opened = false
	c.zr.Reset(&c.z)
	d.r.ResetSource(c.zr, 0)
}

// shut checks that the compressed stream ends where its channels do.
func (c *channelReader) shut(d *decoder) error {
	if !c.compress || !c.z.opened {
		return nil
	}
	d.r.Finish()
	if err := d.r.Err(); err != nil {
		return err
	}
	if _, err := c.zr.ReadByte(); err == nil {
		return formatErr("octets behind the last channel of a compressed stream")
	} else if err != io.EOF {
		return err
	}
	return nil
}

// packedSource counts what it gives of a body, the header in front included.
type packedSource struct {
	r       *bufio.Reader
	n, most int64
}

func (s *packedSource) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if e := s.add(n); err == nil {
		err = e
	}
	return n, err
}

// ReadByte makes flate read no further than it must.
func (s *packedSource) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		err = s.add(1)
	}
	return b, err
}

func (s *packedSource) add(n int) error {
	if s.n += int64(n); s.n > s.most {
		return limitErr("octets of a compressed body", int(s.most))
	}
	return nil
}

// inflater reads one DEFLATE stream after the other, each from when somebody
// first reads behind opened being reset.
type inflater struct {
	src    packedSource
	z      io.ReadCloser
	opened bool
	limit  int64
	total  int64
}

func (z *inflater) Read(p []byte) (int, error) {
	if !z.opened {
		z.opened = true
		if z.z == nil {
			z.z = flate.NewReader(&z.src)
		} else if err := z.z.(flate.Resetter).Reset(&z.src, nil); err != nil {
			return 0, err
		}
	}
	n, err := z.z.Read(p)
	z.total += int64(n)
	if z.total > z.limit {
		return 0, limitErr("octets after inflating", int(z.limit))
	}
	if corrupt := flate.CorruptInputError(0); errors.As(err, &corrupt) {
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return n, err
}
