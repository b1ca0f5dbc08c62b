package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// sender sends to one destination.
type sender struct {
	*Notifier
	to   Destination
	wake chan struct{}

	// These are guarded by Notifier.mu.
	status  DestinationStatus
	trouble string // of the outbox, at the latest attempt to get at it; empty: there is none

	// These are run's.
	unfinished func(context.Context) error // the end of an attempt that could not be written; nil: there is none
	refused    time.Time                   // since when the destination refuses whatever it is sent; zero: it does not
}

func newSender(n *Notifier, d Destination) *sender {
	return &sender{Notifier: n, to: d, wake: make(chan struct{}, 1), status: DestinationStatus{Name: d.Name, Kind: d.Kind, Host: d.host()}}
}

// newClient follows no redirects: what was signed for one address is not for another.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 1
	transport.IdleConnTimeout = 30 * time.Second
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// update changes the status.
func (s *sender) update(change func(*DestinationStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}

// run sends until ctx is done.
func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait, err := s.next(ctx)
		s.mu.Lock()
		s.trouble = textOf(err)
		s.mu.Unlock()
		if err != nil {
			wait = s.config.Poll
			if s.unfinished != nil { // while the message is ours
				wait = min(wait, s.backoff(1, s.config.MaxBackoff))
			}
			if ctx.Err() == nil {
				s.config.Log.Warn("cannot get at what is to be sent", "destination", s.to.Name, "error", err)
				s.update(func(d *DestinationStatus) { d.Why = err.Error() })
			}
		}
		if wait <= 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-s.config.Clock.After(wait):
		}
	}
}

// next sends the next message, and returns how long to wait after that.
func (s *sender) next(ctx context.Context) (wait time.Duration, err error) {
	if s.unfinished != nil {
		if err := s.unfinished(ctx); err != nil {
			return 0, err
		}
		s.unfinished = nil
	}
	now := s.config.Clock.Now()
	claim, err := s.outbox.Claim(ctx, s.to.Name, now, 3*s.config.Timeout) // one for the attempt, and the others to write its end
	if err != nil {
		return 0, err
	}
	s.update(func(d *DestinationStatus) {
		d.Queued, d.Dead, d.Elsewhere = claim.Queued, claim.Dead, claim.Taken
		if claim.Queued == 0 {
			d.Why, d.Next = "", time.Time{}
		}
	})
	if claim.Message == nil {
		if claim.Due.IsZero() {
			return s.config.Poll, nil
		}
		return min(s.config.Poll, max(claim.Due.Sub(now), 0)), nil
	}
	m := *claim.Message
	outcome := s.attempt(ctx, m)
	s.record(m, outcome)
	finish := func(ctx context.Context) error {
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), s.config.Timeout/2)
		defer stop()
		err := s.outbox.Finish(ctx, m, outcome)
		if err != nil || outcome.Delivered || outcome.Doubt {
			return err
		}
		return s.outbox.Update(ctx, m.Watch, func(b *Book) { b.Queue = upToDate(b.Queue) }) // with what came while it was under way
	}
	if err := finish(ctx); err != nil {
		s.unfinished = finish
		return 0, err
	}
	if outcome.Delivered {
		s.update(func(d *DestinationStatus) { d.Queued-- })
	}
	if outcome.Delivered || outcome.Dead {
		return s.pace(ctx), nil
	}
	return max(0, outcome.Due.Sub(s.config.Clock.Now())), nil
}

// pace waits until the next message may be sent, whoever wakes us.
func (s *sender) pace(ctx context.Context) time.Duration {
	if s.config.Pace > 0 {
		select {
		case <-ctx.Done():
		case <-s.config.Clock.After(s.config.Pace):
		}
	}
	return 0
}

// record says what came of an attempt, in the log and in the status.
func (s *sender) record(m Message, o Outcome) {
	log := s.config.Log.With("destination", s.to.Name, "host", s.to.host(), "watch", m.Watch, "event", string(m.Event.Type), "incident", m.Event.Incident,
		"delivery", m.Event.ID, "attempt", m.Attempts+1)
	switch {
	case o.Delivered:
		log.Info("told")
	case o.Aborted:
		log.Info("told perhaps: the attempt was cut short", "why", o.Why)
	case o.Dead:
		log.Error("it will not be told", "why", o.Why)
	default:
		log.Warn("not told yet", "why", o.Why, "next", o.Due)
	}
	s.update(func(d *DestinationStatus) {
		d.Why, d.Next = o.Why, time.Time{}
		switch {
		case o.Delivered:
			d.Delivered++
			d.Succeeded = s.config.Clock.Now()
		case o.Aborted:
		case o.Dead:
			d.Failed++
			d.DeadWhy = o.Why
			d.Queued, d.Dead = d.Queued-1, d.Dead+1
		default:
			d.Failed++
			d.Next = o.Due
		}
	})
}

// attempt sends a message once.
func (s *sender) attempt(ctx context.Context, m Message) Outcome {
	answer, reached, err := s.post(ctx, m.Event)
	now := s.config.Clock.Now()
	later := now.Add(s.backoff(m.Attempts+1, s.config.MaxBackoff))
	if err != nil {
		s.refused = time.Time{}
		o := Outcome{Doubt: reached, Why: s.to.clean(reason(err)), Due: later}
		if ctx.Err() != nil {
			o.Aborted, o.Due = true, now
		}
		return o
	}
	status := answer.status
	why := fmt.Sprintf("%s answered %d", s.to.host(), status)
	if body := s.to.clean(answer.body); body != "" {
		why += ": " + body
	}
	switch {
	case status == http.StatusBadRequest || status == http.StatusGone || status == http.StatusRequestEntityTooLarge: // it will not have this one, ever
		return Outcome{Dead: true, Why: why + s.another()}
	case status >= 300 && status < 400:
		return s.refusal(m, now, why+"; redirects are not followed: try the address that it leads to")
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests:
		return s.refusal(m, now, why+s.another())
	}
	s.refused = time.Time{}
	switch {
	case status >= 200 && status < 300:
		return Outcome{Delivered: true}
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		if asked := retryAfter(answer.retryAfter, now); asked.After(later) {
			later = asked
		}
		return Outcome{Why: why, Due: later}
	default:
		return Outcome{Doubt: true, Why: why, Due: later}
	}
}

// another is what to try where a destination refuses.
func (s *sender) another() string {
	return "; try another URL, or another secret, for destination " + s.to.Name
}

// refusal is what comes of a message that the destination would not have. It may later, if it is being set up or moved: it has a day to.
func (s *sender) refusal(m Message, now time.Time, why string) Outcome {
	if s.refused.IsZero() {
		s.refused = now
	}
	if now.Sub(s.refused) >= patience {
		return Outcome{Dead: true, Why: why}
	}
	return Outcome{Why: why, Due: now.Add(s.backoff(m.Attempts+1, longest))}
}

// patience is how long a destination may refuse everything before messages to it are dead.
const patience = day

// answer is what a receiver answered.
type answer struct {
	status     int
	retryAfter string
	body       string // the beginning
}

// post sends an event, and returns the answer, and whether there was a connection on which it may have arrived.
func (s *sender) post(ctx context.Context, e Event) (_ answer, reached bool, err error) {
	ctx, stop := context.WithTimeout(ctx, s.config.Timeout)
	defer stop()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	var body []byte
	if s.to.Kind == Slack {
		body = slackBody(e)
	} else {
		body, _ = json.Marshal(e) // facts were checked
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, string(s.to.URL), bytes.NewReader(body))
	if err != nil {
		return answer{}, false, err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "interlock")
	if s.to.Kind == Webhook {
		request.Header.Set(SignatureHeader, Sign(string(s.to.Secret), body, s.config.Clock.Now()))
		request.Header.Set(DeliveryHeader, e.ID)
		request.Header.Set(EventHeader, string(e.Type))
	}
	response, err := s.client.Do(request)
	if err != nil {
		return answer{}, connected.Load(), err
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4096)) // the status is what counts
	return answer{response.StatusCode, response.Header.Get("Retry-After"), string(text)}, true, nil
}

// backoff returns how long to wait after so many attempts.
func (s *sender) backoff(attempts int, most time.Duration) time.Duration {
	wait := s.config.Backoff
	for range min(attempts-1, 62) {
		if wait *= 2; wait >= most || wait <= 0 {
			break
		}
	}
	wait = min(wait, most)
	return wait/2 + time.Duration(s.config.Random()*float64(wait-wait/2))
}

// longest is how long it may be until the next attempt, also where the receiver asks for more.
const longest = time.Hour

// retryAfter reads the header of that name: seconds, or a date. Zero: it says nothing.
func retryAfter(header string, now time.Time) time.Time {
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		return now.Add(time.Duration(min(seconds, uint64(longest/time.Second))) * time.Second)
	} else if errors.Is(err, strconv.ErrRange) {
		return now.Add(longest)
	}
	at, err := http.ParseTime(header)
	if err != nil || at.Before(now) {
		return time.Time{}
	}
	if at.After(now.Add(longest)) {
		return now.Add(longest)
	}
	return at
}

// reason is what went wrong, without the URL, which net/http puts in front of it.
func reason(err error) string {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "there was no answer in time"
	}
	return err.Error()
}
