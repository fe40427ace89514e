/** The statements behind the shell's backslash commands, in the spirit of psql. */
export type Description = { title: string; text: string; values: string[] };

const userSchemas = String.raw`n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\_%'`;

/** `\dt`: tables and views with their sizes. */
export const listTables = (): Description => ({
  title: 'Tables and views',
  text: `select n.nspname as schema, c.relname as name,
                case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end as type,
                pg_size_pretty(pg_total_relation_size(c.oid)) as size
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.relkind in ('r', 'p', 'v', 'm') and ${userSchemas}
          order by 1, 2`,
  values: [],
});

/** `\d NAME`: columns, indexes, constraints and triggers of a table or view. */
export const describeTable = (name: string): Description[] => {
  const table = '$1::text::regclass';
  return [
    {
      title: name,
      text: `select attname as column, format_type(atttypid, atttypmod) as type,
                    case when attnotnull then 'not null' else '' end as nullable,
                    coalesce(pg_get_expr(d.adbin, d.adrelid), '') as default
               from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
              where a.attrelid = ${table} and a.attnum > 0 and not a.attisdropped order by a.attnum`,
      values: [name],
    },
    {
      title: 'Indexes',
      text: `select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
               from pg_index where indrelid = ${table} order by 1`,
      values: [name],
    },
    {
      title: 'Constraints',
      text: `select conname as name, pg_get_constraintdef(oid, true) as definition
               from pg_constraint where conrelid = ${table} and contype <> 'n' order by contype, conname`,
      values: [name],
    },
    {
      title: 'Triggers',
      text: `select tgname as name, pg_get_triggerdef(oid) as definition
               from pg_trigger where tgrelid = ${table} and not tgisinternal order by 1`,
      values: [name],
    },
  ];
};
