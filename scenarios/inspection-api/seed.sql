insert into aedpics.aed_data (equipment_serial) values ('AED-1');
insert into aedpics.user_profiles (id, full_name) values
  ('a11ce000-0000-0000-0000-000000000001', 'A'),
  ('a11ce000-0000-0000-0000-000000000002', 'B');
