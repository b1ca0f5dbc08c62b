package scenarios

import "time"

// contendingSessions is the race that all is about: so many inspectors open a session on the same free device.
func contendingSessions(clients int) SessionsInput {
	in := SessionsInput{Devices: []string{plainSerialOf(0)}, Sessions: []StartSession{}}
	for i := range clients {
		in.Clients = append(in.Clients, SessionsClient{Inspector: i, TimeZone: "UTC", Operations: []SessionOperation{{Kind: Create}}})
	}
	return in
}

// contendingSchedules is the same for visits: so many planners plan one for the same device, all of them within one window.
func contendingSchedules(clients int, window time.Duration) SchedulesInput {
	in := SchedulesInput{Base: plainBaseTime, Devices: []string{plainSerialOf(0)}, Schedules: []StartSchedule{}}
	apart := (window / time.Duration(clients+1)).Truncate(time.Microsecond)
	for i := range clients {
		op := ScheduleOperation{Kind: Create, At: after(time.Duration(i) * apart)}
		in.Clients = append(in.Clients, SchedulesClient{Inspector: i, TimeZone: "UTC", Operations: []ScheduleOperation{op}})
	}
	return in
}
