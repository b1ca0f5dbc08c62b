// Package web is the HTTP face of the monitor: what breaks the invariants as JSON, a page for people that updates itself, metrics, and who may ask for
// them. openapi.yaml describes all of its answers.
package web
