package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
)

// invariantView is how an invariant is.
type invariantView struct {
	Invariant string          `json:"invariant"`
	Name      string          `json:"name"`
	Says      string          `json:"says"`
	Verdict   history.Verdict `json:"verdict"`
	Why       string          `json:"why,omitempty"`
	Summary   string          `json:"summary"`
	Groups    int             `json:"groups"`
	Members   int             `json:"members"`
	Since     *string         `json:"since"`   // the first of the groups was seen
	Checked   *string         `json:"checked"` // the latest look that succeeded began; nil: none has
	Tried     *string         `json:"tried"`
	Whole     *string         `json:"whole"` // everything was looked at since; nil: not yet
	Took      float64         `json:"took_seconds"`
	Partial   bool            `json:"partial"`
	Version   uint64          `json:"version"`
	Address   string          `json:"address"` // of the groups
}

func (s *Site) viewOf(r monitor.Result) invariantView {
	known := func(t time.Time) *string {
		if t.IsZero() {
			return nil
		}
		return moment(&t)
	}
	why := s.why(r.Why, "")
	return invariantView{
		Invariant: r.Watch.Invariant, Name: r.Watch.Name, Says: r.Watch.Says, Verdict: r.Verdict, Why: why, Summary: summary(r, why),
		Groups: r.Total, Members: r.Members, Since: known(firstSeen(r.Groups)), Checked: known(r.Checked), Tried: known(r.Tried), Whole: known(r.Whole), Took: r.Took.Seconds(),
		Partial: r.Partial, Version: r.Version, Address: "/api/monitoring/" + r.Watch.Name,
	}
}

// watch returns what is watched under a name, or what watches an invariant. Nil: nothing does.
func (s *Site) watch(name string) *monitor.Watch {
	for i, w := range s.watches {
		if w.Name == name || w.Invariant == name {
			return &s.watches[i]
		}
	}
	return nil
}

func (s *Site) noWatch(name string, address func(monitor.Watch) string) error {
	var there []string
	for _, w := range s.watches {
		there = append(there, address(w))
	}
	return refuse(http.StatusNotFound, "not-found", "There is nothing here", fmt.Sprintf("nothing called %.60q is watched; try %s", name, strings.Join(there, ", ")))
}

// result returns the result of a watch, or one that says that there is none.
func (s *Site) result(ctx context.Context, w monitor.Watch, fresh, most time.Duration) monitor.Result {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	r, err := s.config.Source.Result(ctx, w.Name, fresh)
	if err != nil {
		return monitor.Result{Watch: w, Verdict: history.Unknown, Why: err.Error()}
	}
	return r
}

// fresh returns how old an answer may be: as old as usual, unless whoever asks says otherwise, and waits for a look.
func (s *Site) fresh(q *request, usual time.Duration) time.Duration {
	for _, header := range q.Header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(strings.ToLower(header), ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			seconds, err := strconv.ParseUint(value, 10, 31)
			switch {
			case name == "no-cache":
				return s.config.Fresh
			case name == "max-age" && err == nil:
				return max(s.config.Fresh, time.Duration(seconds)*time.Second)
			}
		}
	}
	return usual
}

func (s *Site) invariants(w http.ResponseWriter, q *request) error {
	ctx, cancel := context.WithTimeout(q.Context(), patience)
	defer cancel()
	views := []invariantView{}
	for _, watch := range s.watches {
		views = append(views, s.viewOf(s.result(ctx, watch, s.fresh(q, latest), patience)))
	}
	return answerJSON(w, map[string]any{"invariants": views, "timestamp": momentOf(s.config.now())})
}

func (s *Site) invariant(w http.ResponseWriter, q *request) error {
	watch := s.watch(q.name)
	if watch == nil {
		return s.noWatch(q.name, func(w monitor.Watch) string { return "/api/invariants/" + w.Invariant })
	}
	return answerJSON(w, s.viewOf(s.result(q.Context(), *watch, s.fresh(q, latest), patience)))
}

// indexView is how an index is.
type indexView struct {
	history.Index
	Size string `json:"size"` // for people
}

// indexesView is how all of them were.
type indexesView struct {
	Indexes   []indexView `json:"indexes"`
	Why       string      `json:"why,omitempty"` // the latest look did not succeed
	Timestamp string      `json:"timestamp"`     // when the latest one that did began
}

func (s *Site) indexes(w http.ResponseWriter, q *request) error {
	ctx, cancel := context.WithTimeout(q.Context(), patience)
	defer cancel()
	found, at, err := s.config.Source.Indexes(ctx, s.fresh(q, indexesFresh))
	view := indexesView{Indexes: []indexView{}, Timestamp: momentOf(at)}
	if err != nil {
		view.Why = "the indexes could not be looked at: " + s.why(err.Error(), "again, or /readyz for what is in the way")
	}
	if at.IsZero() {
		return noAnswer(view.Why)
	}
	for _, i := range found {
		view.Indexes = append(view.Indexes, indexView{i, size(i.Bytes)})
	}
	return answerJSON(w, view)
}

// size is a number of bytes as people say it.
func size(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB"}
	v := float64(n)
	for v >= 10*1024 && len(units) > 1 {
		v, units = v/1024, units[1:]
	}
	return figures(int64(v+0.5)) + " " + units[0]
}

// alive answers as long as the process does. What of the database, /readyz knows.
func (s *Site) alive(w http.ResponseWriter, _ *request) error {
	return answerJSON(w, map[string]string{"status": "alive"})
}

// healthView is how the database is.
type healthView struct {
	Ready      bool    `json:"ready"`
	Connected  bool    `json:"connected"`
	ReadOnly   bool    `json:"read_only"`
	Replica    bool    `json:"replica"`
	Lag        float64 `json:"lag_seconds"`
	BackingOff float64 `json:"backing_off_seconds"`
	Success    *string `json:"success"`
}

func (s *Site) ready(w http.ResponseWriter, _ *request) error {
	h := s.config.Source.Health()
	if !h.Ready {
		return refuse(http.StatusServiceUnavailable, "not-ready", "Interlock is not ready", s.why(h.Why, "looking at the database, and again")).with("Retry-After", "5")
	}
	v := healthView{Ready: true, Connected: h.Connected, ReadOnly: h.ReadOnly, Replica: h.Replica, Lag: h.Lag.Seconds(), BackingOff: h.BackingOff.Seconds()}
	if !h.Success.IsZero() {
		v.Success = moment(&h.Success)
	}
	return answerJSON(w, v)
}

// answerJSON writes an answer that is not to be kept.
func answerJSON(w http.ResponseWriter, v any) error {
	body, err := plain(v)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	header := w.Header()
	header["Content-Type"] = jsonType
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // who asked is gone if it fails
	return nil
}

// repair plans a repair, or makes it.
func (s *Site) repair(w http.ResponseWriter, q *request) error {
	if s.config.Repair == nil {
		return refuse(http.StatusNotFound, "repair-off", "Repair is off", "this server was started without it; try starting it so that it may repair, or: interlock repair --dry-run")
	}
	apply, err := readRepair(q)
	if err != nil {
		return err
	}
	select {
	case s.repairing <- struct{}{}:
		defer func() { <-s.repairing }()
	default:
		return refuse(http.StatusConflict, "repair-under-way", "A repair is under way", "there is one at a time; try again when it is done").with("Retry-After", "5")
	}
	if err := untimed(w); err != nil {
		return err
	}
	run, err := s.config.Repair(q.Context(), apply)
	archived := ""
	if run.Repair != nil && run.Repair.ID != "" {
		archived = " (what was done until then is archived as " + run.Repair.ID + ")"
	}
	switch {
	case errors.Is(err, ErrRefused):
		return refuse(http.StatusConflict, "repair-refused", "The repair is refused", s.why(err.Error(), `it with "apply": false`))
	case errors.Is(err, ErrBusy):
		return refuse(http.StatusConflict, "repair-under-way", "A repair is under way", s.why(err.Error(), "again when it is done")).with("Retry-After", "5")
	case err != nil:
		return noAnswer("the repair could not be made" + archived + ": " + s.why(err.Error(), `it with "apply": false first`))
	}
	return answerJSON(w, run)
}

// readRepair reads the body of a repair.
func readRepair(q *request) (apply bool, err error) {
	const try = `; try {"apply": false}`
	if kind, _ := rangeOf(q.Header.Get("Content-Type")); kind != "application/json" {
		return false, refuse(http.StatusUnsupportedMediaType, "media-type", "The body is of another kind", "it must be JSON; try Content-Type: application/json")
	}
	var body struct {
		Apply *bool `json:"apply"`
	}
	d := json.NewDecoder(q.Body)
	d.DisallowUnknownFields()
	err = d.Decode(&body)
	if err == nil && d.More() {
		err = errors.New("there is something after it")
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return false, tooLarge()
	case err != nil:
		return false, refuse(http.StatusBadRequest, "bad-body", "The body is wrong", "it cannot be read"+try)
	case body.Apply == nil:
		return false, refuse(http.StatusBadRequest, "bad-body", "The body is wrong", "apply is not there"+try)
	}
	return *body.Apply, nil
}

func tooLarge() *problem {
	return refuse(http.StatusRequestEntityTooLarge, "body-too-large", "The body is too large", fmt.Sprintf("it is more than %d KiB; try a smaller one", mostBody>>10))
}

// untimed lets an answer take longer than others may.
func untimed(w http.ResponseWriter) error {
	control := http.NewResponseController(w)
	for _, set := range []func(time.Time) error{control.SetReadDeadline, control.SetWriteDeadline} {
		if err := set(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return fmt.Errorf("taking more time: %w", err)
		}
	}
	return nil
}
