declare module "virtual:scenarios" {
  /** Of the package, in order. */
  export const NAMES: readonly string[];
}
