"""MLPs as stacks of 1x1 convolutions: accurate on tables, the same on tokens, pixels and voxels."""
