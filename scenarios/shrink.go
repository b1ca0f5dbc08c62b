package scenarios

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leanovate/gopter"

	"github.com/interlock-pg/interlock/harness/history"
)

// A shrinker offers inputs that are one step simpler, the biggest steps first: fewer starting rows, so that it is the clients that are in each
// other's way; fewer clients, operations, devices; then simpler times, time zones, serials, numbers. Each is simpler in one respect and no less simple in any other, so shrinking ends.

// fewest is how many clients a race takes. A shrinker goes no lower: one client beside a starting row may break the same invariant, but shows no race.
const fewest = 2

// shrinkSessions offers inputs that are simpler than in.
func shrinkSessions(in SessionsInput) gopter.Shrink {
	s := steps[SessionsInput]{in: in, clone: SessionsInput.clone, valid: SessionsInput.valid, parts: (*SessionsInput).parts}
	s.each(len(in.Sessions), func(in *SessionsInput, i int) { in.Sessions = slices.Delete(in.Sessions, i, i+1) })
	if len(in.Clients) > fewest {
		s.each(len(in.Clients), func(in *SessionsInput, i int) { in.Clients = slices.Delete(in.Clients, i, i+1) })
	}
	for i, c := range in.Clients {
		s.each(len(c.Operations), func(in *SessionsInput, j int) {
			in.Clients[i].Operations = slices.Delete(in.Clients[i].Operations, j, j+1)
		})
	}
	s.devices()
	s.words()
	return s.shrink()
}

// shrinkSchedules offers inputs that are simpler than in.
func shrinkSchedules(in SchedulesInput, window time.Duration) gopter.Shrink {
	valid := func(in SchedulesInput) bool { return in.valid(window) }
	s := steps[SchedulesInput]{in: in, clone: SchedulesInput.clone, valid: valid, parts: (*SchedulesInput).parts}
	s.each(len(in.Schedules), func(in *SchedulesInput, i int) { in.Schedules = slices.Delete(in.Schedules, i, i+1) })
	if len(in.Clients) > fewest {
		s.each(len(in.Clients), func(in *SchedulesInput, i int) { in.Clients = slices.Delete(in.Clients, i, i+1) })
	}
	for i, c := range in.Clients {
		s.each(len(c.Operations), func(in *SchedulesInput, j int) {
			in.Clients[i].Operations = slices.Delete(in.Clients[i].Operations, j, j+1)
		})
	}
	s.devices()
	if in.Base != plainBaseTime {
		s.offer(func(in *SchedulesInput) { in.Base = plainBaseTime })
	}
	for i, c := range in.Clients {
		for j, op := range c.Operations {
			for _, at := range op.At.simpler() {
				s.offer(func(in *SchedulesInput) { in.Clients[i].Operations[j].At = at })
			}
		}
	}
	for i, row := range in.Schedules {
		for _, at := range row.At.simpler() {
			s.offer(func(in *SchedulesInput) { in.Schedules[i].At = at })
		}
	}
	s.words()
	return s.shrink()
}

// simpler returns simpler times, the base first.
func (w When) simpler() []When {
	if w == (When{}) {
		return nil
	}
	simpler := []When{{}}
	if whole := w.Offset / history.Duration(time.Minute) * history.Duration(time.Minute); whole != w.Offset && whole != 0 {
		simpler = append(simpler, When{Offset: whole})
	}
	return simpler
}

// parts are what both kinds of input are made of, to be looked at and changed in place.
type parts struct {
	serials    *[]string
	devices    []*int // indexes into serials
	inspectors []*int
	zones      []*string
}

func (in *SessionsInput) parts() parts {
	p := parts{serials: &in.Devices}
	for i := range in.Sessions {
		p.devices = append(p.devices, &in.Sessions[i].Device)
		p.inspectors = append(p.inspectors, &in.Sessions[i].Inspector)
	}
	for i := range in.Clients {
		c := &in.Clients[i]
		p.inspectors = append(p.inspectors, &c.Inspector)
		p.zones = append(p.zones, &c.TimeZone)
		for j := range c.Operations {
			if c.Operations[j].Kind != CleanUp {
				p.devices = append(p.devices, &c.Operations[j].Device)
			}
		}
	}
	return p
}

func (in *SchedulesInput) parts() parts {
	p := parts{serials: &in.Devices}
	for i := range in.Schedules {
		p.devices = append(p.devices, &in.Schedules[i].Device)
		p.inspectors = append(p.inspectors, &in.Schedules[i].Inspector)
	}
	for i := range in.Clients {
		c := &in.Clients[i]
		p.inspectors = append(p.inspectors, &c.Inspector)
		p.zones = append(p.zones, &c.TimeZone)
		for j := range c.Operations {
			p.devices = append(p.devices, &c.Operations[j].Device)
		}
	}
	return p
}

// steps collects what a shrinker offers.
type steps[I any] struct {
	in    I
	clone func(I) I
	valid func(I) bool
	parts func(*I) parts
	edits []func(*I)
}

// offer adds the input as edit leaves a copy of it.
func (s *steps[I]) offer(edit func(*I)) { s.edits = append(s.edits, edit) }

// each offers n inputs.
func (s *steps[I]) each(n int, edit func(in *I, i int)) {
	for i := range n {
		s.offer(func(in *I) { edit(in, i) })
	}
}

// devices offers to drop a device that nothing is about; the later ones move up.
func (s *steps[I]) devices() {
	p := s.parts(&s.in)
	for i := range *p.serials {
		if slices.ContainsFunc(p.devices, func(device *int) bool { return *device == i }) {
			continue
		}
		s.offer(func(in *I) {
			p := s.parts(in)
			*p.serials = slices.Delete(*p.serials, i, i+1)
			for _, device := range p.devices {
				if *device > i {
					*device--
				}
			}
		})
	}
}

// words offers plain time zones, serials and numbers of inspectors.
func (s *steps[I]) words() {
	p := s.parts(&s.in)
	for i, zone := range p.zones {
		if *zone != "UTC" {
			s.offer(func(in *I) { *s.parts(in).zones[i] = "UTC" })
		}
	}
	for i, serial := range *p.serials {
		plain := []string{plainSerialOf(0), plainSerialOf(i)}
		if !slices.Contains(plain, serial) {
			s.each(len(plain), func(in *I, n int) { (*s.parts(in).serials)[i] = plain[n] })
		}
	}
	var numbers []int
	for _, inspector := range p.inspectors {
		numbers = append(numbers, *inspector)
	}
	slices.Sort(numbers)
	if numbers = slices.Compact(numbers); len(numbers) > 0 && numbers[len(numbers)-1] >= len(numbers) {
		s.offer(func(in *I) {
			for _, inspector := range s.parts(in).inspectors {
				*inspector, _ = slices.BinarySearch(numbers, *inspector)
			}
		})
	}
}

// shrink returns what was offered and is valid, each made when it is asked for.
func (s *steps[I]) shrink() gopter.Shrink {
	next := 0
	return func() (any, bool) {
		for next < len(s.edits) {
			in := s.clone(s.in)
			s.edits[next](&in)
			next++
			if s.valid(in) {
				return in, true
			}
		}
		return nil, false
	}
}

func (in SessionsInput) clone() SessionsInput {
	in.Devices, in.Sessions, in.Clients = slices.Clone(in.Devices), slices.Clone(in.Sessions), slices.Clone(in.Clients)
	for i := range in.Clients {
		in.Clients[i].Operations = slices.Clone(in.Clients[i].Operations)
	}
	return in
}

func (in SchedulesInput) clone() SchedulesInput {
	in.Devices, in.Schedules, in.Clients = slices.Clone(in.Devices), slices.Clone(in.Schedules), slices.Clone(in.Clients)
	for i := range in.Clients {
		in.Clients[i].Operations = slices.Clone(in.Clients[i].Operations)
	}
	return in
}

// valid reports whether the input is a race that can be started: it has clients that do something, and its starting rows keep the rule.
func (in SessionsInput) valid() bool {
	open := map[int]bool{}
	for _, s := range in.Sessions {
		if s.Device < 0 || s.Device >= len(in.Devices) || s.open() && open[s.Device] {
			return false
		}
		open[s.Device] = open[s.Device] || s.open()
	}
	return len(in.Clients) > 0 && validDevices(in.Devices) && !slices.ContainsFunc(in.Clients, func(c SessionsClient) bool {
		return len(c.Operations) == 0 || slices.ContainsFunc(c.Operations, func(op SessionOperation) bool {
			return op.Kind != CleanUp && op.Device >= len(in.Devices)
		})
	})
}

func (in SchedulesInput) valid(window time.Duration) bool {
	for i, s := range in.Schedules {
		before := in
		before.Schedules = in.Schedules[:i]
		if s.Device >= len(in.Devices) || !before.fits(s, window) {
			return false
		}
	}
	_, err := time.Parse(time.RFC3339, in.Base)
	return err == nil && len(in.Clients) > 0 && validDevices(in.Devices) && !slices.ContainsFunc(in.Clients, func(c SchedulesClient) bool {
		return len(c.Operations) == 0 || slices.ContainsFunc(c.Operations, func(op ScheduleOperation) bool { return op.Device >= len(in.Devices) })
	})
}

func validDevices(serials []string) bool {
	for i, serial := range serials {
		n := utf8.RuneCountInString(serial)
		if n == 0 || n > 255 || strings.ContainsRune(serial, 0) || !utf8.ValidString(serial) || slices.Contains(serials[:i], serial) {
			return false
		}
	}
	return true
}
