package plant_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/plant"
	"github.com/interlock-pg/interlock/harness/server/servertest"
)

func ExampleTry() {
	ctx := context.Background()
	srv, err := servertest.Shared()
	if err != nil {
		log.Fatal(err)
	}
	run := func(sql string) func(context.Context, *pgx.ConnConfig) error {
		return func(ctx context.Context, config *pgx.ConnConfig) error {
			conn, err := pgx.ConnectConfig(ctx, config)
			if err != nil {
				return err
			}
			_, err = conn.Exec(ctx, sql)
			return errors.Join(err, conn.Close(ctx))
		}
	}
	before, err := srv.Template(ctx, run(`create table users (id int primary key, email text);
		insert into users select n, n || '@x.org' from generate_series(1, 500) n`))
	if err != nil {
		log.Fatal(err)
	}
	migration := run(`create unique index users_email on users (lower(email))`)

	was, err := before.Database(ctx)
	if err != nil {
		log.Fatal(err)
	}
	is, err := before.Database(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := migration(ctx, is.Config("example")); err != nil {
		log.Fatal(err)
	}
	var one, two *pgx.Conn
	if one, err = was.Connect(ctx, "example"); err == nil {
		two, err = is.Connect(ctx, "example")
	}
	if err != nil {
		log.Fatal(err)
	}
	added, err := plant.Added(ctx, one, two)
	if err = errors.Join(err, one.Close(ctx), two.Close(ctx), was.Drop(ctx), is.Drop(ctx)); err != nil {
		log.Fatal(err)
	}

	trial, findings, err := plant.Try(ctx, added, plant.Config{Database: before.Database, Apply: migration, File: "2_email.sql"})
	if err = errors.Join(err, before.Drop(ctx)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(trial.State, trial.Says)
	for _, f := range findings {
		fmt.Println(f.Says)
		fmt.Println(f.Query)
	}
	// Output:
	// passed 1 constraint, 52 offending keys planted: refused cleanly, all named
	// would refuse 52 keys: rows of public.users that have the same lower(email)
	// SELECT lower(email) AS lower, count(*) AS rows, array_agg(id ORDER BY id) AS ids
	// FROM public.users
	// WHERE lower(email) IS NOT NULL
	// GROUP BY 1
	// HAVING count(*) > 1
	// ORDER BY 1
}
