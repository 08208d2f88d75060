/** The files of the scenarios of the package but the first, by their paths: fetched when somebody chooses one. */
export const TEXTS = import.meta.glob<string>(["../scenarios/*/*.yaml", "!../scenarios/db-policy/*.yaml"], {
  query: "?raw",
  import: "default",
  eager: true,
});
