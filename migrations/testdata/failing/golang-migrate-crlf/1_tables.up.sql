CREATE TABLE a ();
-- 세션
CREATE TABLE b (
	id "정수" NOT NUL
);
