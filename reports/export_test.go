package reports

// For the tests of what is laid out in columns.
var (
	Width = width
	Wrap  = wrap
	Clip  = clip
	Clean = clean
	Plain = withoutPassword
	Shell = command
)
