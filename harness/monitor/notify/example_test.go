package notify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/interlock-pg/interlock/harness/history"
	"github.com/interlock-pg/interlock/harness/monitor"
	"github.com/interlock-pg/interlock/harness/monitor/notify"
)

// A receiver checks the signature of the body as it came, and knows by the id what it has already.
func ExampleVerify() {
	const secret = "0f4c3a81d2b95e67"
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			return
		}
		if err := notify.Verify(secret, r.Header.Get(notify.SignatureHeader), body, 0, time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		var e notify.Event
		if err := json.Unmarshal(body, &e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Println(e.Type, e.Watch, e.ID == r.Header.Get(notify.DeliveryHeader))
		fmt.Println(e.Text)
	}))
	defer receiver.Close()

	dir, err := os.MkdirTemp("", "notify")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	outbox, err := notify.Open(context.Background(), notify.Store{File: filepath.Join(dir, "notify.json")})
	if err != nil {
		log.Fatal(err)
	}
	n, err := notify.New(notify.Config{
		Destinations: []notify.Destination{{Name: "ops", Kind: notify.Webhook, URL: notify.Hidden(receiver.URL), Secret: secret}},
		Source:       "production",
	}, outbox)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()

	err = n.Observe(ctx, monitor.Result{
		Watch:   monitor.Watch{Invariant: "S1", Name: "duplicate-sessions", Says: "A device has at most one open session."},
		Verdict: history.Violated, Checked: time.Now(), Groups: []monitor.Group{{Key: "AED-1", Members: 2, Since: time.Now()}}, Total: 1, Members: 2,
	})
	if err != nil {
		log.Fatal(err)
	}
	for n.Status().Destinations[0].Delivered == 0 {
		time.Sleep(time.Millisecond)
	}
	stop()
	<-done
	if err := outbox.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// broke duplicate-sessions true
	// production: S1 duplicate-sessions is broken: 1 group, 2 members.
}
