package exi

import (
	"postern/exi/internal/bits"
	"postern/exi/internal/deflate"
)

// smallChannel is the number of values up to which channels share a compressed
// stream, and up to which a block has only one (EXI 1.0 §9.3).
const smallChannel = 100

// channelWriter collects the values of a block by name (EXI 1.0 §9). The
// structure channel is the encoder's own writer.
type channelWriter struct {
	compress  bool
	blockSize int
	list      []channel // in the order of their first values
	byName    []int32   // position in list + 1
	count     int
	arena     stringArena
	w         bits.Writer
	dst       []byte
	structure []byte // memory of the structure channel
	values    []byte // memory of the value channels
	z         deflate.Encoder
}

type channel struct {
	name int32
	vals []channelValue
}

type channelValue struct {
	d *dtype
	v Value
}

func newChannelWriter(o *Options) *channelWriter {
	c := &channelWriter{compress: o.Alignment == Compression, blockSize: o.BlockSize}
	c.w.SetAligned(true)
	return c
}

func (c *channelWriter) add(e *encoder, d *dtype, name int32, v *Value) {
	for int(name) >= len(c.byName) {
		c.byName = append(c.byName, 0)
	}
	i := c.byName[name]
	if i == 0 {
		if n := len(c.list); n < cap(c.list) {
			c.list = c.list[:n+1]
			c.list[n].name, c.list[n].vals = name, c.list[n].vals[:0]
		} else {
			c.list = append(c.list, channel{name: name})
		}
		i = int32(len(c.list))
		c.byName[name] = i
	}
	ch := &c.list[i-1]
	ch.vals = append(ch.vals, channelValue{d, *v})
	if own := &ch.vals[len(ch.vals)-1].v; !e.stable && own.str != "" {
		own.str = c.arena.copy(own.str)
	}
	c.count++
	if c.count >= c.blockSize {
		c.flush(e)
	}
}

// flush ends a block: structure channel first, then the values (§9.3).
func (c *channelWriter) flush(e *encoder) {
	structure := e.w.Bytes()
	c.structure = structure
	if c.count <= smallChannel {
		c.w.Reset(append(c.values[:0], structure...))
		for i := range c.list {
			c.write(e, &c.list[i])
		}
		c.values = c.w.Bytes()
		c.emit(c.values)
	} else {
		c.emit(structure)
		c.w.Reset(c.values[:0])
		for i := range c.list {
			if len(c.list[i].vals) <= smallChannel {
				c.write(e, &c.list[i])
			}
		}
		c.values = c.w.Bytes()
		c.emit(c.values)
		for i := range c.list {
			if len(c.list[i].vals) > smallChannel {
				c.w.Reset(c.values[:0])
				c.write(e, &c.list[i])
				c.values = c.w.Bytes()
				c.emit(c.values)
			}
		}
	}
	for i := range c.list {
		c.byName[c.list[i].name] = 0
		clear(c.list[i].vals)
	}
	c.list = c.list[:0]
	c.count = 0
	c.arena = stringArena{}
	e.w.Reset(structure[:0])
}

func (c *channelWriter) write(e *encoder, ch *channel) {
	for i := range ch.vals {
		v := &ch.vals[i]
		if !v.d.isString() {
			e.pv.set(v.d, &v.v)
		}
		e.write(&c.w, v.d, ch.name, &v.v)
	}
}

// emit appends one compressed stream; an empty one has no representation.
func (c *channelWriter) emit(p []byte) {
	if len(p) == 0 {
		return
	}
	if !c.compress {
		c.dst = append(c.dst, p...)
		return
	}
	c.dst = c.z.Append(c.dst, p)
}
