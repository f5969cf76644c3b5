package e2e_test

import (
	"strings"
	"testing"
)

// setTraps creates functions in the schema public, which is in the search path of the relay's
// sessions. Each has the exact types of arguments that a function of pg_catalog has only by a
// polymorphic type, by "any", by VARIADIC or after an implicit cast, so that Postgres prefers it to
// that function. Each fails and names itself.
// https://www.postgresql.org/docs/current/typeconv-func.html
func (w *testEnv) setTraps() {
	w.t.Helper()
	w.exec(`
		CREATE PROCEDURE set_trap(name text, arguments text, result text) LANGUAGE plpgsql AS $$ BEGIN
			EXECUTE pg_catalog.format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS ', name, arguments,
				result) || pg_catalog.quote_literal('BEGIN RAISE EXCEPTION ' || pg_catalog.quote_literal(
				'the trap ' || name || '(' || arguments || ') was called') || '; END');
		EXCEPTION WHEN duplicate_function THEN NULL; END $$`)
	w.exec(`DO $$
		DECLARE kind text; name text;
			kinds text[] :=
				'{text,name,varchar,"\"char\"",oid,regclass,xid,xid8,uuid,integer,bigint,timestamptz,jsonb,json,
				bytea,text[],name[],oid[],bigint[],uuid[],outbox_events,pg_replication_slots}';
		BEGIN FOREACH kind IN ARRAY kinds LOOP
			FOREACH name IN ARRAY '{array_agg,cardinality,concat,count,jsonb_agg,lower,max,md5,min,octet_length,
					pg_typeof,quote_ident,quote_literal,to_json,to_jsonb,upper,pg_partition_ancestors,pg_partition_tree,
					pg_relation_size,pg_stat_get_tuples_updated,pg_cancel_backend}'::text[] LOOP
				CALL set_trap(name, kind, 'text');
			END LOOP;
			FOREACH name IN ARRAY '{array_length,concat_ws,encode,format,has_schema_privilege,has_table_privilege,
					jsonb_build_object,convert_from,left,string_agg,to_char}'::text[] LOOP
				CALL set_trap(name, 'text, ' || kind, 'text');
				CALL set_trap(name, kind || ', text', 'text');
				CALL set_trap(name, kind || ', name', 'text');
				CALL set_trap(name, kind || ', integer', 'text');
			END LOOP;
			IF kind LIKE '%[]' THEN
				CALL set_trap('unnest', kind, 'SETOF ' || pg_catalog.rtrim(kind, '[]'));
			END IF;
		END LOOP; END $$`)
	for _, arguments := range []string{
		"text, oid, xid, text", "text, oid, xid, oid, xid, oid, xid, xid, xid, text",
		"text, oid, xid, oid, xid, oid, xid, xid, text, text", "text, oid, xid, oid, xid",
		"text, text, text, text, text", "text, name, name", "text, integer, name", "text, text, text, text",
	} {
		w.exec(`CALL set_trap('concat_ws', $1, 'text')`, arguments)
		w.exec(`CALL set_trap('format', $1, 'text')`, arguments)
	}
	w.exec(`CALL set_trap('replace', 'text, varchar, varchar', 'text')`)
	w.exec(`CALL set_trap('jsonb_build_object', 'text, text, text, text, text, bigint', 'jsonb')`)
	for _, operands := range []string{
		"text, name", "name, text", "oid, text", "name, name", "text, uuid", "text, bigint",
	} {
		left, right, _ := strings.Cut(operands, ", ")
		w.exec(`CALL set_trap('joined', $1, 'text')`, operands)
		w.exec(`CREATE OPERATOR public.|| (LEFTARG = ` + left + `, RIGHTARG = ` + right + `, FUNCTION = joined)`)
	}
}

// A function in public could otherwise run as the relay's role, and replace the id and the payload
// of an event that the relay reads from the table.
func TestNoFunctionOfPublicIsCalled(t *testing.T) {
	t.Parallel()
	o := newOutage(t, newTestEnv(t, "orders.fifo"))
	o.setTraps()
	o.env = append(o.env, "RELAY_RETENTION=240h")
	relays := []*process{o.startStreaming(o.env...)}
	o.writeHourly(1, 4)
	o.testEnv.awaitAll(4)
	o.write(1, 20)
	o.awaitState("deferred")
	relays[0].stop()
	o.dropSlot()
	o.writeHourly(5, 8)
	relays = append(relays, o.startStreaming(o.env...))
	o.testEnv.awaitAll(8) // 5 to 8 from the table
	o.end()
	o.awaitAll(20) // from the table
	o.awaitDelivered()
	var said strings.Builder
	for _, args := range []string{
		"replay --since 2026-01-01T00:00:00Z --aggregate order/1 --yes", "status", "check", "recover",
		"dead-letters list",
	} {
		output, err := o.command(o.env, strings.Fields(args)...)
		said.WriteString(output)
		t.Logf("%s: %v", args, err)
	}
	relays[1].stop()
	for _, p := range relays {
		said.WriteString(p.log.String())
	}
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, "the trap") || strings.Contains(line, "aggregate function") {
			t.Error(line)
		}
	}
}
