"""What will happen before it is deployed: a workload and a profile go in, figures come out."""
