package config

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Site is where the gateway is.
type Site struct {
	TimeZone  string `yaml:"time_zone,omitempty" format:"time-zone" doc:"time zone of schedules, by its name in the zone database; the machine's when left out" example:"Europe/Berlin"`
	Latitude  string `yaml:"latitude,omitempty" format:"latitude" doc:"degrees north of the equator, for sunrise and sunset" example:"52.52"`
	Longitude string `yaml:"longitude,omitempty" format:"longitude" doc:"degrees east of Greenwich" example:"13.40"`
}

// Validate implements the rule that a position has two numbers.
func (s Site) Validate() error {
	switch {
	case s.Latitude != "" && s.Longitude == "":
		return keyError{"latitude", "the longitude is missing", "add longitude: 13.40, or leave both out"}
	case s.Latitude == "" && s.Longitude != "":
		return keyError{"longitude", "the latitude is missing", "add latitude: 52.52, or leave both out"}
	}
	return nil
}

// Location returns the time zone. A name that is not known, which the format
// excludes, gives the machine's.
func (s Site) Location() *time.Location {
	if s.TimeZone == "" {
		return time.Local
	}
	loc, err := time.LoadLocation(s.TimeZone)
	if err != nil {
		return time.Local
	}
	return loc
}

// Position returns the position in degrees; ok is false when it is not given.
func (s Site) Position() (latitude, longitude float64, ok bool) {
	lat, err := degrees(s.Latitude, 90)
	lon, err2 := degrees(s.Longitude, 180)
	return lat, lon, err == nil && err2 == nil
}

// checkTimeZone is the format of names of the zone database.
func checkTimeZone(text string) error {
	if _, err := time.LoadLocation(text); err != nil || text == "" || text == "Local" {
		return errors.New("write a name of the zone database, for example Europe/Berlin; without the package tzdata only UTC is known")
	}
	return nil
}

func degrees(text string, most float64) (float64, error) {
	d, err := strconv.ParseFloat(text, 64)
	if err != nil || !(d >= -most && d <= most) {
		return 0, fmt.Errorf("write degrees from -%v to %v with a decimal point, for example 52.52", most, most)
	}
	return d, nil
}

// checkDegrees is the format of latitudes and longitudes.
func checkDegrees(most float64) func(string) error {
	return func(text string) error {
		_, err := degrees(text, most)
		return err
	}
}
