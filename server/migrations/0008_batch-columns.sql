-- The batch functions take one array a table instead of nested items: their old forms go.

drop function if exists payments.create_batch(jsonb, jsonb, timestamptz);
drop function if exists ledger.post_batch(jsonb, timestamptz);
drop function if exists ledger.assert_transfers(jsonb);
drop function if exists ledger.may_fail(jsonb);
drop function if exists ledger.rejections(jsonb);
