output "cluster_settings" {
  description = "The data of manifests/clusters/<environment>/cluster.yaml, but for its ACME server."
  value = yamlencode({
    environment         = var.environment
    cloud               = "aws"
    cluster             = local.name
    region              = var.region
    api_server_cidr     = local.api_server_cidr
    dns_zone            = var.dns_zone_id
    dns_role_arn        = aws_iam_role.workload["dns"].arn
    secrets_role_arn    = aws_iam_role.workload["secrets"].arn
    reader_role_arn     = aws_iam_role.workload["reader"].arn
    writer_role_arn     = aws_iam_role.workload["writer"].arn
    autoscaler_role_arn = aws_iam_role.workload["autoscaler"].arn
  })
}

output "model_repository" {
  description = "What every modelUri of the environment's overlays begins with."
  value       = "s3://${aws_s3_bucket.models.id}"
}

output "kubeconfig_command" {
  description = "Lets kubectl and flux reach the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${local.name}"
}
