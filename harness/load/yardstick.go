package load

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/interlock-pg/interlock/harness/race"
)

const yardstickName = "yardstick"

// yardstick is the workload that no migration and no defence changes: a transaction that reads a row by its key and adds one.
func yardstick() race.Workload {
	return race.Workload{Name: yardstickName, Stream: func(shape race.Shape) race.Stream {
		return race.Stream{
			Fill: func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, `create table yardstick (id bigint generated always as identity primary key, v bigint);
					insert into yardstick (v) select i from generate_series(1, 1000) i`, pgx.QueryExecModeSimpleProtocol)
				return err
			},
			Client: func(n int) func() race.Operation {
				key := int64(n)
				return func() race.Operation {
					key = key%1000 + 1
					return race.Operation{Kind: "read and add", Do: func(ctx context.Context, conn *pgx.Conn) race.Answer {
						return race.Answer{Err: pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
							var v int64
							if err := tx.QueryRow(ctx, `select v from yardstick where id = $1`, key).Scan(&v); err != nil {
								return err
							}
							_, err := tx.Exec(ctx, `insert into yardstick (v) values ($1)`, v)
							return err
						})}
					}}
				}
			},
		}
	}}
}
