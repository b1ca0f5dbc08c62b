// Package monitor watches the invariants of a live database: it looks, read only, at set times and when somebody asks, at most one look of a kind at a
// time, and keeps the latest answer for all who ask.
//
// # What a look costs
//
// A look is one read-only REPEATABLE READ transaction with timeouts of its own, on one process of the server. There is one connection for each watch at
// most. Who asks for a result that is in memory and not too old costs the database nothing; who asks for a newer one waits with all others for one look.
// Looks at set times take no more than [Config].Share of the time; so a database that has become slow is asked less often, and where looks in part are not
// possible, those that somebody asks for are no exception. After a look that fails none is made for a while, which doubles up to [Config].Every. Both are
// told by [Health].BackingOff.
//
// # What a look sees
//
// The first look is at everything ([Watch].All). As long as that is cheap, up to 100 ms, or takes no more than half of the share, each look is, and what
// is broken is seen at the next look. Where it takes longer, and the watch can be looked at by key ([Watch].Some), looks in part are made in between, with
// the other half of the share. [Result].Partial says so. A look in part is at
//
//   - all that is known to be broken: so what heals, or changes, is seen at the next look, always;
//   - what has been written since the look before ([Watch].Changed), where the server plans that query without reading a table from end to end, which is
//     asked at each look at everything. It is as good as the column that it reads. The query is asked for what is newer than the oldest transaction that was
//     under way before the look before, less [Config].Overlap: a transaction that commits late with an older time is not missed. On a replica it is asked
//     for what is newer than the latest commit that had been replayed by then, however late. Not seen are rows whose time the application does not set, sets
//     from a clock that is further off than Overlap, or sets in a transaction that is hidden from us (of another role, where ours is no member of
//     pg_read_all_stats; on the primary of a replica) and takes longer than Overlap. Where more has been written than groups are kept ([Config].Groups),
//     looks do without until the next one at everything, which is then made as soon as the share allows;
//   - the next so many keys in the order of an index ([Watch].Next), as many as take [Config].Part: one look after another goes through all keys, and begins
//     again. What was broken before a pass began, and still is, is seen by its end, whatever wrote it; [Result].Whole is when the pass began. Each key is
//     seen in one snapshot, all of them are not; so a watch must be one whose groups depend on rows of their own key only.
//
// So, of what breaks, a look in part sees at once what an index tells of; all else is seen by the next look at everything, or at the end of the pass. The
// next look at everything is made when the share allows it; where an index tells what has changed, no sooner than after [Config].Full.
//
// If a look at everything fails when it has taken long, more than 100 ms or the statement timeout, a pass is all that there is until the share allows the
// next one. Until its end the verdict is unknown, unless something broken was found; its slices take half of the share.
//
// There is no other honest way to look in part: that the tables have no index on updated_at is the usual case (ours have none), nothing in the database
// makes an application set it, and the server's own marks of what is new (xmin, the visibility map) have no index that could be asked.
//
// # What goes wrong
//
// A look that fails makes the verdict unknown, at once, and keeps what was seen before. A session that has ended between two looks is no failure: the look
// is made on another. Nobody has to do anything when the server comes back.
package monitor
