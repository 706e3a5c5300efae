package board

import (
	"context"
	"fmt"
	"time"

	"postern/drivers/gpio"
)

// Press is how long a button was held.
type Press uint8

// The presses. Holding is told while the button is still down, so that a lamp
// can say that the long press is near.
const (
	Short   Press = iota // let go within ShortPress
	Holding              // held for longer; nothing happens yet
	Let                  // let go between ShortPress and LongPress: nothing is meant
	Long                 // held for LongPress; told at that moment
)

// Times of presses.
const (
	ShortPress = 2 * time.Second
	LongPress  = 10 * time.Second
)

// bounce is how long a level has to be stable.
const bounce = 30 * time.Millisecond

// Button tells the presses of a button between the line and ground, until ctx
// is done or the line fails. A button that is down from the start counts once
// it was let go, so that one that is stuck resets nothing.
func Button(ctx context.Context, l gpio.Line, pressed func(Press)) error {
	if err := l.Input(gpio.InputOptions{Bias: "pull-up", Debounce: bounce}); err != nil {
		return fmt.Errorf("board: button: %w", err)
	}
	down, err := isDown(l)
	for err == nil && down { // stuck, or held through the start
		down, err = next(ctx, l, 0)
	}
	for err == nil && ctx.Err() == nil {
		if down, err = next(ctx, l, 0); err != nil || !down {
			continue
		}
		if down, err = next(ctx, l, ShortPress); err != nil {
			break
		}
		if !down {
			pressed(Short)
			continue
		}
		pressed(Holding)
		if down, err = next(ctx, l, LongPress-ShortPress); err != nil {
			break
		}
		if !down {
			pressed(Let)
			continue
		}
		pressed(Long)
		for err == nil && down {
			down, err = next(ctx, l, 0)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("board: button: %w", err)
}

func isDown(l gpio.Line) (bool, error) {
	level, err := l.Level()
	return level == gpio.Low, err
}

// next waits for an edge, at most for so long if it is not 0, and returns
// whether the button is down then. While a button is held nothing but its being
// let go ends the wait.
func next(ctx context.Context, l gpio.Line, most time.Duration) (down bool, err error) {
	wait := ctx
	if most > 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	for {
		was, err := isDown(l)
		if err != nil {
			return false, err
		}
		if most > 0 && !was {
			return false, nil
		}
		werr := l.Wait(wait)
		if _, err := l.Edges(); err != nil && werr == nil {
			return false, err
		}
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case wait.Err() != nil:
			return isDown(l)
		case werr != nil:
			return false, werr
		}
		is, err := isDown(l)
		if err != nil || is != was {
			return is, err
		}
	}
}
