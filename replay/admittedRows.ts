/** Rows on their way through a replay's flow table. */

/** Rows of a batch with their flows, to be pushed; `length` of them count. */
export interface AdmittedRows {
  readonly rows: Int32Array;
  readonly flows: Int32Array;
  length: number;
}

/** Rows `from` (inclusive) to `to` (exclusive) of a batch. */
export interface RowsToAdmit {
  /** By row: 0, it is not to be counted. */
  readonly meant: Uint8Array;
  /** From `hashRows`, that of row `first` at 0. */
  readonly hashes: Int32Array;
  readonly first: number;
  readonly from: number;
  readonly to: number;
}
