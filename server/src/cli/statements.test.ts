import { expect, test } from 'vitest';
import { splitStatements } from './statements.ts';

test('statements end at their semicolons, and what is not finished waits', () => {
  expect(splitStatements('select 1; select\n2;\nselect 3')).toEqual({
    statements: ['select 1;', 'select\n2;'],
    rest: '\nselect 3',
  });
  expect(splitStatements(';;  ;')).toEqual({ statements: [], rest: '' });
});

test.each([
  [`select 'a;b''c;'`],
  [`select e'it\\';s'`],
  [`select "odd;""name;"`],
  ['select 1 -- no; end\n + 1'],
  ['select /* a; /* b; */ c; */ 1'],
  ['do $$ begin perform 1; end $$'],
  ['do $body$ begin perform $$;$$; end $body$'],
  ['create function f() returns int begin atomic select 1; select 2; end'],
  ['select a$b$c from t'],
])('a semicolon inside of %s ends nothing', (statement) => {
  expect(splitStatements(`${statement}; select 2;`).statements).toEqual([`${statement};`, 'select 2;']);
});

test.each([[`select 'a;`], ['select "a;'], ['select /* ; '], ['do $$ begin perform 1;']])(
  '%s is not finished',
  (input) => {
    expect(splitStatements(input)).toEqual({ statements: [], rest: input });
  },
);
