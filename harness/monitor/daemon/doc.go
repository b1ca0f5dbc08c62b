// Package daemon is interlock serve without its command line: it puts together the monitor, its site, the notifier and the agenda, as the settings say, and
// runs them until it is told to stop.
package daemon
