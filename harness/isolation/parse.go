package isolation

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Parse reads a spec. What is wrong with it is a [*SyntaxError], in which file stands for where the text is from.
func Parse(file string, text []byte) (*Spec, error) {
	p := parser{file: file, text: string(text), mentions: map[mention]token{}}
	p.token = p.next()
	spec, err := p.spec()
	if err != nil {
		return nil, err
	}
	var wrong *referenceError
	if errors.As(spec.check(), &wrong) {
		return nil, p.fail(p.mentions[wrong.at], wrong.problem, wrong.try)
	}
	return spec, nil
}

// parser reads a spec from left to right, with one token of foresight.
type parser struct {
	file, text string
	at         int               // what is before has been scanned
	token      token             // that comes next
	mentions   map[mention]token // the names that check may complain about
}

// take moves on behind the next token if it is of this kind, and has this text, unless that is empty.
func (p *parser) take(kind tokenKind, text string) (token, bool) {
	t := p.token
	if t.kind != kind || text != "" && t.text != text {
		return t, false
	}
	p.token = p.next()
	return t, true
}

// unexpected is the error that the next token is not what may come here.
func (p *parser) unexpected(wanted string) error {
	problem := fmt.Sprintf("unexpected %q", p.text[p.token.at:p.token.at+p.token.size])
	switch p.token.kind {
	case badToken:
		return p.token.err
	case endToken:
		problem = "unexpected end of the file"
	case blockToken:
		problem = "unexpected block"
	}
	return p.fail(p.token, problem, wanted)
}

func (p *parser) spec() (_ *Spec, err error) {
	s := &Spec{}
	for p.token.isKeyword("setup") {
		setup, err := p.optional("setup")
		if err != nil {
			return nil, err
		}
		s.Setups = append(s.Setups, setup)
	}
	if s.Teardown, err = p.optional("teardown"); err != nil {
		return nil, err
	}
	for p.token.isKeyword("session") || len(s.Sessions) == 0 {
		session, err := p.session(len(s.Sessions))
		if err != nil {
			return nil, err
		}
		s.Sessions = append(s.Sessions, session)
	}
	for p.token.isKeyword("permutation") {
		permutation, err := p.permutation(len(s.Permutations))
		if err != nil {
			return nil, err
		}
		s.Permutations = append(s.Permutations, permutation)
	}
	switch {
	case p.token.kind == endToken:
		return s, nil
	case len(s.Permutations) > 0:
		return nil, p.unexpected("further names of steps, or a further permutation: there is nothing else behind the first one")
	default:
		return nil, p.unexpected("step, teardown, session or permutation; what the whole spec sets up stands before its sessions")
	}
}

// optional reads a keyword and the block that belongs to it, if that keyword comes next.
func (p *parser) optional(word string) (string, error) {
	if _, ok := p.take(keywordToken, word); !ok {
		return "", nil
	}
	return p.block(word + " { SQL }")
}

func (p *parser) block(wanted string) (string, error) {
	t, ok := p.take(blockToken, "")
	if !ok {
		return "", p.unexpected(wanted)
	}
	return t.text, nil
}

// name reads the name of a session or step.
func (p *parser) name(wanted string) (token, error) {
	t, ok := p.take(nameToken, "")
	switch {
	case ok:
		return t, nil
	case t.kind == keywordToken:
		return t, p.unexpected(fmt.Sprintf("%s; to call something %q, put the name in quotes", wanted, t.text))
	default:
		return t, p.unexpected(wanted)
	}
}

func (p *parser) session(index int) (s Session, err error) {
	if _, ok := p.take(keywordToken, "session"); !ok {
		return s, p.unexpected("session NAME; before the first one stand setup blocks, and a teardown block behind those, if there are any")
	}
	t, err := p.name("session NAME")
	if err != nil {
		return s, err
	}
	s.Name = t.text
	if s.Setup, err = p.optional("setup"); err != nil {
		return s, err
	}
	for p.token.isKeyword("step") || len(s.Steps) == 0 {
		const wanted = "step NAME { SQL }; a session has at least one, behind its setup block, if it has one"
		if _, ok := p.take(keywordToken, "step"); !ok {
			return s, p.unexpected(wanted)
		}
		t, err := p.name(wanted)
		if err != nil {
			return s, err
		}
		p.mentions[mention{session: index, step: len(s.Steps)}] = t
		sql, err := p.block(wanted)
		if err != nil {
			return s, err
		}
		s.Steps = append(s.Steps, Step{Name: t.text, SQL: sql})
	}
	s.Teardown, err = p.optional("teardown")
	return s, err
}

func (p *parser) permutation(index int) (all Permutation, err error) {
	p.take(keywordToken, "permutation")
	for p.token.kind == nameToken || len(all.Steps) == 0 {
		at := mention{permutation: index + 1, step: len(all.Steps)}
		t, err := p.name("permutation STEP, and further names of steps")
		if err != nil {
			return all, err
		}
		p.mentions[at] = t
		step := PermutationStep{Step: t.text}
		_, more := p.take(signToken, "(")
		for more {
			at.marker++
			p.mentions[at] = p.token
			m, err := p.marker()
			if err != nil {
				return all, err
			}
			step.Markers = append(step.Markers, m)
			if _, more = p.take(signToken, ","); more {
				continue
			}
			if _, closed := p.take(signToken, ")"); !closed {
				return all, p.unexpected(`"," and a further marker, or ")"`)
			}
		}
		all.Steps = append(all.Steps, step)
	}
	return all, nil
}

func (p *parser) marker() (m Marker, err error) {
	if _, ok := p.take(signToken, "*"); ok {
		return Marker{Kind: Once}, nil
	}
	t, err := p.name("a marker, which is (*), (STEP) or (STEP notices 2)")
	if err != nil {
		return m, err
	}
	if _, ok := p.take(keywordToken, "notices"); !ok {
		return Marker{Kind: Active, Step: t.text}, nil
	}
	count, ok := p.take(numberToken, "")
	if !ok {
		return m, p.unexpected("the number of notices, as (STEP notices 2)")
	}
	n, err := strconv.Atoi(count.text)
	if err != nil || n > math.MaxInt32 {
		return m, p.fail(count, "nobody sends that many notices", "a smaller number")
	}
	return Marker{Kind: Notices, Step: t.text, Notices: n}, nil
}
