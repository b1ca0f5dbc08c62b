package server

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Roles returns the names of the server's roles.
func (s *Server) Roles(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, err := s.admin.Query(ctx, `select rolname::text from pg_roles order by 1`)
	if err != nil {
		return nil, fmt.Errorf("listing roles: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// DropRole drops a role that owns nothing.
func (s *Server) DropRole(ctx context.Context, name string) error {
	if err := s.exec(ctx, `drop role if exists `+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("dropping role %s: %w", name, err)
	}
	return nil
}
