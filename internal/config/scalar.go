package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// setScalar reads text into v by v's type. The error says what is wanted and
// does not repeat the text.
func setScalar(v reflect.Value, text string) error {
	if v.Type() == durationType {
		d, err := parseDuration(text)
		if err == nil {
			v.SetInt(int64(d))
		}
		return err
	}
	if v.CanAddr() && v.Addr().Type().Implements(textType) {
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		return setBool(v, text)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := parseWhole(text)
		if err != nil {
			return err
		}
		if v.OverflowInt(n) {
			return fmt.Errorf("a number of at most %d bits is wanted", v.Type().Bits())
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := parseWhole(text)
		if err != nil {
			return err
		}
		if n < 0 || v.OverflowUint(uint64(n)) {
			return fmt.Errorf("a whole number from 0 to %d is wanted", uint64(math.MaxUint64)>>(64-v.Type().Bits()))
		}
		v.SetUint(uint64(n))
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return errors.New("a number is wanted, for example 1.5")
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("config: type %s is not supported", v.Type()))
	}
	return nil
}

func setBool(v reflect.Value, text string) error {
	switch text {
	case "true", "false":
		v.SetBool(text == "true")
		return nil
	}
	switch strings.ToLower(text) {
	case "yes", "on", "y", "1", "true":
		return errors.New("write true")
	case "no", "off", "n", "0", "false":
		return errors.New("write false")
	}
	return errors.New("true or false is wanted")
}

// parseWhole reads decimal and 0x numbers. A leading zero is refused: half of
// the readers take it as octal.
func parseWhole(text string) (int64, error) {
	t := strings.ReplaceAll(text, "_", "")
	digits := strings.TrimLeft(t, "+-")
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		return 0, errors.New("a number must not begin with 0, which some read as octal; leave the zero out")
	}
	n, err := strconv.ParseInt(t, 0, 64)
	if err != nil {
		return 0, errors.New("a whole number is wanted, for example 5 or 0x76")
	}
	return n, nil
}

func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	if err == nil {
		return d, nil
	}
	if _, e := strconv.ParseFloat(text, 64); e == nil {
		return 0, fmt.Errorf("the unit is missing: write %ss for seconds, or ms, m, h, d", text)
	}
	return 0, errors.New("a time with its unit is wanted: ms, s, m, h or d, for example 10s or 1m30s")
}

// measure returns what min and max of a field are compared with: the value of
// numbers, the length of texts and lists.
func measure(v reflect.Value) (float64, bool) {
	switch {
	case v.Type() == durationType:
		return float64(v.Int()), true
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	case v.Kind() == reflect.String, v.Kind() == reflect.Slice, v.Kind() == reflect.Map:
		return float64(v.Len()), true
	}
	if f, ok := v.Interface().(interface{ Float64() float64 }); ok {
		return f.Float64(), true
	}
	return 0, false
}

// bound reads a min or max tag for values of type t.
func bound(text string, t reflect.Type) (float64, bool) {
	if text == "" {
		return 0, false
	}
	if t == durationType {
		d, err := parseDuration(text)
		if err != nil {
			panic("config: bound " + text + ": " + err.Error())
		}
		return float64(d), true
	}
	if n, err := parseWhole(text); err == nil {
		return float64(n), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("config: bound " + text + ": " + err.Error())
	}
	return f, true
}

// rangeText words the bounds of a field.
func rangeText(f field) string {
	what := ""
	switch f.typ.Kind() {
	case reflect.String:
		what = " characters"
	case reflect.Slice, reflect.Map:
		what = " entries"
	}
	if isText(f.typ) {
		what = ""
	}
	switch {
	case f.min != "" && f.max != "":
		return f.min + " to " + f.max + what
	case f.min != "":
		return "at least " + f.min + what
	case f.max != "":
		return "at most " + f.max + what
	}
	return ""
}
