package migrations_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/server/servertest"
	"github.com/interlock-pg/interlock/migrations"
)

func ExampleEmbedded() {
	for _, m := range migrations.Embedded().Migrations {
		fmt.Println(m.Version, m.Label())
	}
	// Output:
	// 1 base schema
	// 2 partial unique indexes
	// 3 schedule window
}

func ExampleOpen() {
	set, err := migrations.Open("testdata/good/flyway", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(set.Layout)
	for _, m := range set.Migrations {
		fmt.Println(m.Version, m.Ref, m.Label())
	}
	// Output:
	// flyway
	// 1 1 devices
	// 2 1.1 serial index
	// 3 1.10 visits
	// 4 R planned
	// 5 R planned busy
}

func ExampleSet_Apply() {
	ctx := context.Background()
	srv, err := servertest.Shared()
	if err != nil {
		log.Fatal(err)
	}
	blank, err := srv.Template(ctx, func(context.Context, *pgx.ConnConfig) error { return nil })
	if err != nil {
		log.Fatal(err)
	}
	db, err := blank.Database(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := db.Drop(ctx); err != nil {
			log.Print(err)
		}
	}()
	apply := func(config *pgx.ConnConfig, set migrations.Set) {
		done, err := set.Apply(ctx, config, 2)
		for _, a := range done {
			fmt.Println("applied", a.Migration.Label())
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	set := migrations.Embedded()
	set.Migrations[1].Path = "00002_seed.sql"
	set.Migrations[1].SQL = "-- +goose Up\nCREATE INDEX ON aedpics.inspection_schedules (DATE(scheduled_for));\n"
	apply(db.Config("example"), set)
	// Output:
	// applied base schema
	// 00002_seed.sql:2:1: ERROR 42P17: functions in index expression must be marked IMMUTABLE
	//   CREATE INDEX ON aedpics.inspection_schedules (DATE(scheduled_for));
	//   ^
	// TRY: an expression that depends on no setting: of a timestamptz, (column AT TIME ZONE 'UTC')::date instead of DATE(column)
}
