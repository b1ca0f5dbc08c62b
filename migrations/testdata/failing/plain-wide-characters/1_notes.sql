CREATE TABLE notes (body text);

-- Two columns on a terminal for each of these: 점검
INSERT INTO notes SELECT '점검 완료: é' || nosuch || '끝' FROM notes;
