output "cluster_settings" {
  description = "The data of manifests/clusters/<environment>/cluster.yaml, but for its ACME server."
  value = yamlencode({
    environment = var.environment
    cloud       = "gcp"
    project     = var.project
    dns_zone    = var.dns_zone
  })
}

output "model_repository" {
  description = "What every modelUri of the environment's overlays begins with."
  value       = "gs://${google_storage_bucket.models.name}"
}

output "kubeconfig_command" {
  description = "Lets kubectl and flux reach the cluster."
  value       = "gcloud container clusters get-credentials ${local.name} --region ${var.region} --project ${var.project}"
}
