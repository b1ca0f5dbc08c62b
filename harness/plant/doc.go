// Package plant tries a migration on the rows that it must refuse. It finds the constraints that a migration adds ([Added]), breaks each with rows
// among generated ones ([Constraint.Plant]), applies the migration to them, and says what came of it ([Try]): a migration that is refused should
// leave nothing behind, and whoever applies it should learn of every row in its way, where PostgreSQL names the first.
//
// Not covered: constraints of domains, foreign keys with PERIOD, types that become narrower, constraints on columns that the migration adds or
// renames, except for generated ones, and references to tables that it makes.
package plant
