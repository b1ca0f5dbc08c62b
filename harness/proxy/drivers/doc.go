// Package drivers has drivers of other languages talk to Postgres through package proxy, and compares what they are told with what they are told
// without it. It is tests only.
package drivers
