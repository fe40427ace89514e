-- The objects of an array whose `ord` is not among those dropped.
create or replace function payments.without(items jsonb, dropped integer[]) returns jsonb
language sql immutable as $$
  select coalesce(jsonb_agg(i), '[]') from jsonb_array_elements(items) i where (i ->> 'ord')::integer <> all (dropped);
$$;
