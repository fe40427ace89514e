-- The batch functions take an array a column instead of an array of objects a table: their old forms go.

drop function if exists payments.create_batch(jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, timestamptz);
drop function if exists payments.insert(jsonb);
drop function if exists payments.without(jsonb, integer[]);
drop function if exists ledger.post_batch(jsonb, jsonb, timestamptz);
drop function if exists ledger.assert_transfers(jsonb, jsonb);
drop function if exists ledger.rejections(jsonb);
drop function if exists journal.append(jsonb);
drop function if exists journal.claim_keys(jsonb, timestamptz);
drop function if exists journal.refuse_keys(jsonb);
