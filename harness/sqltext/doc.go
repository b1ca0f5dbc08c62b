// Package sqltext cuts SQL text into statements, as psql cuts a file and as the server cuts a message, and says what each begins with. It is a
// lexer and no grammar: it knows quotes, dollar quotes, comments, brackets and the bodies of SQL functions, and nothing else.
package sqltext
