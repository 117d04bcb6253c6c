// What packed_loss.comp gives packed_gradients.comp as the lse of a row without gradient.
const float NO_GRADIENT = 3.4028235e38;
