// Talks to Postgres through JDBC, and prints a line for each case: java -cp JAR Talk.java URL.
// What is printed is the same each time, on a database with the tables of a fresh one.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

class Talk {
  interface Case {
    Object run() throws Exception;
  }

  // As one statement, however often it looks: what is said is the same each time.
  static final String UNTIL_IT_SLEEPS = """
      do $$ begin
        while not exists (select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep') loop
          perform pg_stat_clear_snapshot();
        end loop;
      end $$""";

  static Connection c;

  static void attempt(String name, Case f) {
    String said;
    try {
      said = String.valueOf(f.run());
    } catch (Exception e) {
      said = facts(e);
    }
    System.out.println(name + ": " + said.replace("\n", "\\n"));
  }

  // facts is all that the server said in an error.
  static String facts(Exception e) {
    if (!(e instanceof PSQLException p) || p.getServerErrorMessage() == null) {
      return e.toString();
    }
    ServerErrorMessage m = p.getServerErrorMessage();
    return String.join(" | ", "" + m.getSeverity(), "" + m.getSQLState(), "" + m.getMessage(), "" + m.getDetail(), "" + m.getHint(), "" + m.getPosition(),
        "" + m.getWhere(), "" + m.getSchema(), "" + m.getTable(), "" + m.getConstraint(), "" + m.getFile(), "" + m.getLine(), "" + m.getRoutine());
  }

  static List<String> rows(ResultSet r) throws SQLException {
    List<String> out = new ArrayList<>();
    while (r.next()) {
      StringBuilder row = new StringBuilder();
      for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
        row.append(r.getMetaData().getColumnName(i)).append('=').append(r.getString(i)).append(' ');
      }
      out.add(row.toString().trim());
    }
    return out;
  }

  static Object query(String sql, Object... parameters) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(sql)) {
      for (int i = 0; i < parameters.length; i++) {
        s.setObject(i + 1, parameters[i]);
      }
      Object out = s.execute() ? rows(s.getResultSet()) : s.getUpdateCount();
      List<String> warnings = new ArrayList<>();
      for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) {
        warnings.add(w.getMessage());
      }
      return warnings.isEmpty() ? out : out + " " + warnings;
    }
  }

  public static void main(String[] arguments) throws Exception {
    String url = arguments[0];
    c = DriverManager.getConnection(url);
    PGConnection pg = c.unwrap(PGConnection.class);
    attempt("types", () -> query("select ?::int as i, ?::text as t, ?::float8 as f, ?::boolean as b, ?::numeric as n, ?::text as z", 42, "é ✓", 1.5, true,
        new java.math.BigDecimal("12.50"), null));
    attempt("insert", () -> query("insert into item (name) values (?)", "first"));
    attempt("duplicate", () -> query("insert into item (name) values (?)", "first"));
    attempt("mistake", () -> query("select nothing from item"));
    attempt("division", () -> query("select 1 / ?", 0));
    attempt("notice", () -> query("select noisy(?)", 2));
    attempt("several", () -> query("select 1; update item set n = 1; select 2"));
    attempt("keys", () -> {
      try (PreparedStatement s = c.prepareStatement("insert into item (name) values (?)", Statement.RETURN_GENERATED_KEYS)) {
        s.setString(1, "keyed");
        s.executeUpdate();
        s.getGeneratedKeys();
        return s.getUpdateCount();
      }
    });
    attempt("prepared", () -> { // by the server, from the fifth time on
      List<String> out = new ArrayList<>();
      try (PreparedStatement s = c.prepareStatement("select count(*) from item where id > ?")) {
        for (int i = 0; i < 8; i++) {
          s.setInt(1, i);
          out.addAll(rows(s.executeQuery()));
        }
      }
      return out;
    });
    attempt("batch", () -> {
      try (PreparedStatement s = c.prepareStatement("insert into item (name) values (?)")) {
        for (int i = 0; i < 300; i++) {
          s.setString(1, "batch " + i);
          s.addBatch();
        }
        return s.executeBatch().length;
      }
    });
    attempt("batch fails", () -> {
      try (PreparedStatement s = c.prepareStatement("insert into item (name) values (?)")) {
        for (String name : new String[] {"batch new", "batch 1", "batch newer"}) {
          s.setString(1, name);
          s.addBatch();
        }
        return s.executeBatch().length;
      }
    });
    attempt("large", () -> query("select length(?)", "x".repeat(2 << 20)));
    c.setAutoCommit(false);
    attempt("in a transaction", () -> query("insert into item (name) values (?)", "in a transaction"));
    Savepoint[] savepoint = new Savepoint[1];
    attempt("savepoint", () -> (savepoint[0] = c.setSavepoint()) != null);
    attempt("fails", () -> query("insert into item (name) values (?)", "first"));
    attempt("failed", () -> query("select 1"));
    attempt("rollback to", () -> {
      c.rollback(savepoint[0]);
      return query("select count(*) from item where name like 'in%'");
    });
    attempt("cursor", () -> {
      try (Statement s = c.createStatement()) {
        s.setFetchSize(50);
        long sum = 0;
        ResultSet r = s.executeQuery("select i from generate_series(1, 1000) i");
        while (r.next()) {
          sum += r.getInt(1);
        }
        return sum;
      }
    });
    attempt("commit", () -> {
      c.commit();
      return "done";
    });
    attempt("deferred", () -> query("insert into late values (1), (1)"));
    attempt("commit fails", () -> {
      c.commit();
      return "done";
    });
    c.rollback();
    c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    attempt("serializable", () -> query("show transaction_isolation"));
    c.rollback();
    c.setAutoCommit(true);
    attempt("timeout", () -> {
      query("set statement_timeout = 50");
      return query("select pg_sleep(1000)");
    });
    query("reset statement_timeout");
    attempt("cancel", () -> {
      try (Statement s = c.createStatement(); Connection other = DriverManager.getConnection(url)) {
        Thread canceler = new Thread(() -> {
          try (Statement looks = other.createStatement()) {
            looks.execute(UNTIL_IT_SLEEPS);
            s.cancel();
          } catch (SQLException e) {
            System.out.println(e);
          }
        });
        canceler.start();
        try {
          return s.execute("select pg_sleep(1000)");
        } finally {
          canceler.join();
        }
      }
    });
    attempt("copy in", () -> pg.getCopyAPI().copyIn("copy item (name) from stdin", new StringReader("copied 1\ncopied 2\n")));
    attempt("copy in fails", () -> pg.getCopyAPI().copyIn("copy item (name) from stdin", new StringReader("copied 1\n")));
    attempt("copy out", () -> {
      StringWriter text = new StringWriter();
      pg.getCopyAPI().copyOut("copy (select name from item where name like 'copied%' order by 1) to stdout", text);
      return text;
    });
    attempt("notification", () -> {
      query("listen news");
      query("select pg_notify('news', 'hello')");
      return pg.getNotifications(60000)[0].getParameter();
    });
    attempt("all", () -> query("select count(*) as n, sum(n) as sum from item"));
    c.close();
  }
}
