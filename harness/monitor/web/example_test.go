package web_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/interlock-pg/interlock/harness/monitor/web"
)

// A server for all who have one of two tokens.
func ExampleNew() {
	var source web.Source // a *monitor.Monitor
	serve := func(ctx context.Context) error {
		site, err := web.New(web.Config{
			Source: source,
			Tokens: []web.Token{
				{Name: "prometheus", Role: web.Read, Secret: os.Getenv("READ_TOKEN")},
				{Name: "on-call", Role: web.Repair, Secret: os.Getenv("REPAIR_TOKEN")},
			},
			Log: slog.Default(),
		})
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", ":8080")
		if err != nil {
			return err
		}
		return site.Serve(ctx, listener)
	}
	fmt.Println(serve(context.Background()) != nil, "there is no source")
	// Output: true there is no source
}
