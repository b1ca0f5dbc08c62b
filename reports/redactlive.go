package reports

// Live hides what [Redact] hides, in texts that are shown one after another while they come: equal values have equal tokens in all of them. What a
// sentence has without quotes is known for a value only if one of the texts that come with it has it. It remembers every value that it has hidden.
// It is not safe for concurrent use.
type Live struct{ tokens map[string]string }

// Texts are those that belong together, each to be replaced by what may be shown of it.
type Texts struct {
	SQL       []*string // statements
	Values    []*string // values and nothing else
	Sentences []*string // what people are told, and may hold values
}

// Hide replaces texts by what may be shown of them.
func (l *Live) Hide(t Texts) {
	if l.tokens == nil {
		l.tokens = map[string]string{}
	}
	r := redactor{names: map[string]bool{}, code: map[string]bool{}, known: map[string]bool{}, tokens: l.tokens}
	for r.phase = learnNames; ; r.phase++ {
		r.done = map[string]string{}
		for _, all := range []struct {
			texts []*string
			how   treatment
		}{{t.Values, (*redactor).value}, {t.SQL, (*redactor).sql}, {t.Sentences, (*redactor).sentence}} {
			for _, text := range all.texts {
				if out := all.how(&r, *text); r.phase == hideAll {
					*text = out
				}
			}
		}
		if r.phase == hideAll {
			return
		}
		r.index()
	}
}
