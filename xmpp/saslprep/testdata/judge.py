"""Prints what SASLprep makes of each line of standard input (code points in
hexadecimal), by Python's tables of RFC 3454 and Unicode 3.2: the result in the
same form, or an exclamation mark where it is refused."""
import sys, stringprep as s, unicodedata

def prepare(text):
    # U+200B is in both tables; libidn, too, takes it for a space.
    text = "".join(" " if s.in_table_c12(c) else c for c in text if s.in_table_c12(c) or not s.in_table_b1(c))
    text = unicodedata.ucd_3_2_0.normalize("NFKC", text)
    for c in text:
        if (s.in_table_a1(c) or s.in_table_c12(c) or s.in_table_c21_c22(c) or s.in_table_c3(c) or s.in_table_c4(c)
                or s.in_table_c5(c) or s.in_table_c6(c) or s.in_table_c7(c) or s.in_table_c8(c) or s.in_table_c9(c)):
            return None
    if any(map(s.in_table_d1, text)):
        if any(map(s.in_table_d2, text)) or not s.in_table_d1(text[0]) or not s.in_table_d1(text[-1]):
            return None
    return text

for line in sys.stdin:
    out = prepare("".join(chr(int(c, 16)) for c in line.split()))
    print("!" if out is None else " ".join("%x" % ord(c) for c in out))
