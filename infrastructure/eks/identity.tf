# Who may do what in AWS, by Kubernetes service account. A pod has the role that its account names, and
# no pod has that of its node. The web identity token is used rather than EKS Pod Identity, because
# rclone in Seldon's storage initializer 1.17.1 is older than that.
data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  workloads = {
    # Predictors: the storage initializer copies a version.
    reader = { accounts = ["models:default"] }
    # Training and retention: publish, and delete what is old.
    writer = { accounts = [for name in var.writer_accounts : "models:${name}"] }
    # External Secrets.
    secrets = { accounts = ["external-secrets:external-secrets"] }
    # cert-manager: the challenge's DNS record.
    dns = { accounts = ["cert-manager:cert-manager"] }
    # Cluster Autoscaler.
    autoscaler = { accounts = ["cluster-autoscaler:cluster-autoscaler"] }
    # Volumes of Prometheus and of audit logs.
    volumes = { accounts = ["kube-system:ebs-csi-controller-sa"] }
  }
}

data "aws_iam_policy_document" "trust" {
  for_each = local.workloads

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [module.cluster.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${module.cluster.oidc_provider}:sub"
      values   = [for account in each.value.accounts : "system:serviceaccount:${account}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${module.cluster.oidc_provider}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "workload" {
  for_each = local.workloads

  name               = "${local.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
}

data "aws_iam_policy_document" "reader" {
  statement {
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.models.arn]
  }

  statement {
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.models.arn}/*"]
  }

  statement {
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.models.arn]
  }
}

# Deleting leaves a marker, and what was deleted can be brought back: it may not delete old versions of
# objects (s3:DeleteObjectVersion), nor change what the bucket keeps.
data "aws_iam_policy_document" "writer" {
  source_policy_documents = [data.aws_iam_policy_document.reader.json]

  statement {
    actions   = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.models.arn}/*"]
  }

  statement {
    actions   = ["kms:GenerateDataKey"]
    resources = [aws_kms_key.models.arn]
  }
}

data "aws_iam_policy_document" "secrets" {
  statement {
    actions = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
    resources = [
      "arn:${data.aws_partition.current.partition}:secretsmanager:${var.region}:${data.aws_caller_identity.current.account_id}:secret:abserve-${var.environment}-*",
    ]
  }
}

data "aws_iam_policy_document" "dns" {
  statement {
    actions   = ["route53:GetChange"]
    resources = ["arn:${data.aws_partition.current.partition}:route53:::change/*"]
  }

  statement {
    actions   = ["route53:ListResourceRecordSets"]
    resources = ["arn:${data.aws_partition.current.partition}:route53:::hostedzone/${var.dns_zone_id}"]
  }

  # Records of challenges, and no others.
  statement {
    actions   = ["route53:ChangeResourceRecordSets"]
    resources = ["arn:${data.aws_partition.current.partition}:route53:::hostedzone/${var.dns_zone_id}"]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "route53:ChangeResourceRecordSetsRecordTypes"
      values   = ["TXT"]
    }

    condition {
      test     = "ForAllValues:StringLike"
      variable = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
      values   = ["_acme-challenge.*"]
    }
  }
}

data "aws_iam_policy_document" "autoscaler" {
  statement {
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeAutoScalingInstances",
      "autoscaling:DescribeLaunchConfigurations",
      "autoscaling:DescribeScalingActivities",
      "autoscaling:DescribeTags",
      "ec2:DescribeImages",
      "ec2:DescribeInstanceTypes",
      "ec2:DescribeLaunchTemplateVersions",
      "ec2:GetInstanceTypesFromInstanceRequirements",
      "eks:DescribeNodegroup",
    ]
    resources = ["*"]
  }

  statement {
    actions   = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    resources = ["*"]

    # The tag that EKS gives the groups of this cluster.
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/k8s.io/cluster-autoscaler/${local.name}"
      values   = ["owned"]
    }
  }
}

resource "aws_iam_role_policy" "workload" {
  for_each = {
    reader     = data.aws_iam_policy_document.reader.json
    writer     = data.aws_iam_policy_document.writer.json
    secrets    = data.aws_iam_policy_document.secrets.json
    dns        = data.aws_iam_policy_document.dns.json
    autoscaler = data.aws_iam_policy_document.autoscaler.json
  }

  name   = each.key
  role   = aws_iam_role.workload[each.key].id
  policy = each.value
}

resource "aws_iam_role_policy_attachment" "volumes" {
  role       = aws_iam_role.workload["volumes"].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
}
