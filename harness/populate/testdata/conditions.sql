create table payments (
	id int generated always as identity primary key, kind text not null check (kind in ('card', 'cash', 'transfer')), card text, iban text,
	paid_at timestamptz, state text not null default 'open' check (state in ('open', 'paid')),
	check ((state = 'paid') = (paid_at is not null)), check (kind <> 'card' or card is not null), check (num_nonnulls(card, iban) <= 1));
create table spans (a int not null, b int not null, c int not null, check (a < b and b < c));
