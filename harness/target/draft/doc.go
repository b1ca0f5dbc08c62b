// Package draft writes the first target file of an application: it looks at a project, reads its OpenAPI file, asks what is left, and puts into
// words what it has found.
//
// [Look] says what a directory tells: how the program is built and started, where its migrations are, which variables lead it to its database.
// [ReadAPI] finds the requests that are likely to race, with bodies made from examples and schemas. [Asker.Ask] goes through all that with somebody who
// knows better. [Draft.YAML] writes it, and has the result checked by [target.Parse] before anybody sees it.
//
// Nothing is guessed silently: what was made up, or has to be there and is not, is a note of the draft.
package draft
