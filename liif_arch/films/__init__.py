"""Films and animations, frame by frame: `kinds` tells them, the others enlarge them."""
