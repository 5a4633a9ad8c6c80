/** All mistakes that are planted. */
import type { Mutation } from "./mutation.ts";
import { AFTERWARDS } from "./planted/afterwards.ts";
import { AROUND_THE_ENGINE } from "./planted/around-the-engine.ts";
import { GUEST_DATA } from "./planted/guest-data.ts";
import { ORDER } from "./planted/order.ts";
import { OTHER_PLACES } from "./planted/other-places.ts";
import { REPAIRS } from "./planted/repairs.ts";
import { SPACE } from "./planted/space.ts";
import { TRANSACTIONS } from "./planted/transactions.ts";

export const MUTATIONS: readonly Mutation[] = [
  ...ORDER,
  ...GUEST_DATA,
  ...SPACE,
  ...TRANSACTIONS,
  ...REPAIRS,
  ...OTHER_PLACES,
  ...AFTERWARDS,
  ...AROUND_THE_ENGINE,
];
