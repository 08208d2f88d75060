/** parse: text -> documents with positions. The only module that knows YAML. */

export interface ManifestFile {
  /** Shown in issues; `-` for standard input. */
  readonly name: string;
  readonly text: string;
}
