package scenarios

import "github.com/leanovate/gopter"

// GenSessions generates [SessionsInput]. Most inputs are pure contention: some clients begin by creating a session on the same free device.
// Others are about an inspector who comes back to a session that went stale; the rest is anything.
func GenSessions(o Options) gopter.Gen {
	o = o.resolve()
	return generator(func(d dice) SessionsInput {
		in := SessionsInput{Devices: d.devices(), Sessions: []StartSession{}}
		contended := d.percent(contention)
		onlyThat := contended && d.percent(pure)
		returning := !contended && d.percent(reopening*100/(100-contention))

		for client, length := range d.clientsAndLengths(o.Clients) {
			c := SessionsClient{Inspector: client, TimeZone: d.timeZone()}
			if client > 0 && d.percent(twoTabs) && (!contended || client > 1) {
				c.Inspector = d.between(0, client-1)
			}
			for n := range length {
				c.Operations = append(c.Operations, d.sessionOperation(len(in.Devices), n == 0))
			}
			switch {
			case contended && (client < 2 || d.percent(rival)):
				c.Operations[0] = SessionOperation{Kind: Create}
				if onlyThat {
					c.Operations = c.Operations[:1]
				}
			case returning && client == 0:
				c.Operations = []SessionOperation{{Kind: oneOf(d, Resume, Resume, Pause)}}
			case returning && client == 1:
				c.Inspector = 1
				c.Operations = []SessionOperation{{Kind: CleanUp}, {Kind: Create}}
			case onlyThat:
				c.Operations[0] = SessionOperation{Kind: Create, Device: len(in.Devices) - 1}
				c.Operations = c.Operations[:1]
			}
			in.Clients = append(in.Clients, c)
		}

		for device := range in.Devices {
			for range d.between(0, 2) { // history; it is in nobody's way
				in.Sessions = append(in.Sessions, StartSession{
					Device: device, Inspector: d.between(0, len(in.Clients)), Status: oneOf(d, "completed", "cancelled", "in_progress"), Stale: true,
				})
			}
			switch free := contended && device == 0; {
			case returning && device == 0:
				in.Sessions = append(in.Sessions, StartSession{Device: device, Status: oneOf(d, "active", "paused"), Stale: true})
			case !free && d.percent(50):
				in.Sessions = append(in.Sessions, StartSession{
					Device: device, Inspector: d.between(0, len(in.Clients)), Status: oneOf(d, "active", "paused"), Stale: d.percent(50),
				})
			}
		}
		return in
	}, shrinkSessions)
}

// sessionOperation draws an operation on one of some devices. A client's first one is a creation more often than not: who has no session yet
// cannot do much with it.
func (d dice) sessionOperation(devices int, first bool) SessionOperation {
	op := SessionOperation{
		Kind:   oneOf(d, Create, Create, Pause, Resume, Resume, Complete, Cancel, CleanUp),
		Device: d.between(0, devices-1),
	}
	if first && d.percent(beginning) {
		op.Kind = Create
	}
	switch {
	case op.Kind == CleanUp:
		op.Device = 0
	case d.percent(noDevice):
		op.Device = -1
	}
	return op
}
