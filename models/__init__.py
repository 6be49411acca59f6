"""Networks: building, counting, saving, loading, pruning and exporting them."""
