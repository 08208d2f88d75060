/** The default of an exhaustive switch: the compiler checks that nothing is left, and a value that slipped in throws. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`);
}
